-- What routing learnt of a file beyond its listing, so that it is asked for once.
ALTER TABLE file ADD COLUMN clock_ahead_seconds INTEGER;  -- the camera's wall clock minus UTC, when the file was discovered
ALTER TABLE file ADD COLUMN picture TEXT;                 -- JSON: what the beginning of the file says
