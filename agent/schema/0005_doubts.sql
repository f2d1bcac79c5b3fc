-- What speaks against a receipt, so that no card loses a file for it.
ALTER TABLE delivery ADD COLUMN doubted_at TEXT;  -- it was looked for where it was delivered, and was not there, or different
ALTER TABLE delivery ADD COLUMN found_at TEXT;    -- and proven there after all, later than that
ALTER TABLE subject ADD COLUMN place TEXT;        -- destinations: a digest of the settings that say where it is
ALTER TABLE subject ADD COLUMN placed_at TEXT;    -- since when it is there; NULL: always

CREATE TRIGGER delivery_again AFTER UPDATE OF state ON delivery
WHEN NEW.state = 'done' AND OLD.state <> 'done' AND (NEW.doubted_at, NEW.found_at) IS NOT (NULL, NULL)
BEGIN
    UPDATE delivery SET doubted_at = NULL, found_at = NULL WHERE id = NEW.id;
END;
