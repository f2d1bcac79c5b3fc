-- The journal of what was deleted from cards: one row for each time that a camera was, or was about to be, told to.
-- A row is 'started', durably, before the camera is asked. What a crash leaves 'started' is 'unknown' until the card has
-- been looked at again. The file itself keeps its state: where it is between card and spool has not changed by this.
CREATE TABLE deletion (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    file_id    INTEGER NOT NULL REFERENCES file (id),
    state      TEXT NOT NULL CHECK (state IN ('started', 'deleted', 'refused', 'kept', 'unknown')),
    asked_by   TEXT NOT NULL,              -- 'agent' for the settings, else who
    proofs     TEXT NOT NULL,              -- JSON: what justified it, a delivery each
    fault_code TEXT,
    detail     TEXT NOT NULL DEFAULT '',
    started_at TEXT NOT NULL,
    ended_at   TEXT,
    seq        INTEGER NOT NULL DEFAULT 0,
    CHECK ((state IN ('started', 'unknown')) = (ended_at IS NULL)),
    CHECK (state <> 'refused' OR fault_code IS NOT NULL)
);
CREATE UNIQUE INDEX deletion_standing ON deletion (file_id) WHERE state IN ('started', 'unknown', 'deleted');
CREATE INDEX deletion_file ON deletion (file_id);
CREATE INDEX deletion_open ON deletion (state) WHERE state IN ('started', 'unknown');
CREATE INDEX deletion_seq ON deletion (seq);

-- Whatever the code above it does: without a verified delivery nothing is deleted, nor what is still to come from the card.
CREATE TRIGGER deletion_justified BEFORE INSERT ON deletion WHEN NOT EXISTS (
    SELECT 1 FROM file f WHERE f.id = NEW.file_id AND f.state IN ('fetched', 'evicted') AND EXISTS (
        SELECT 1 FROM delivery d WHERE d.file_id = f.id AND d.state = 'done' AND d.proof IN ('checksum', 'readback')
    ) AND (f.state = 'fetched' OR NOT EXISTS (
        SELECT 1 FROM delivery d WHERE d.file_id = f.id AND d.state IN ('queued', 'uploading', 'failed')
    ))
)
BEGIN
    SELECT raise(ABORT, 'deleting this file from its card is not justified');
END;
CREATE TRIGGER deletion_state_change BEFORE UPDATE OF state ON deletion
WHEN OLD.state <> NEW.state AND NOT (
    (OLD.state = 'started' AND NEW.state IN ('deleted', 'refused', 'kept', 'unknown'))
    OR (OLD.state = 'unknown' AND NEW.state IN ('deleted', 'kept')))
BEGIN
    SELECT raise(ABORT, 'illegal change of a deletion''s state');
END;
CREATE TRIGGER deletion_kept_for_good BEFORE DELETE ON deletion
BEGIN
    SELECT raise(ABORT, 'the journal forgets nothing');
END;
-- The spool has the only copy that what is still owed can be sent from.
CREATE TRIGGER deletion_holds_spool BEFORE UPDATE OF state ON file
WHEN OLD.state = 'fetched' AND NEW.state = 'evicted'
    AND EXISTS (SELECT 1 FROM deletion x WHERE x.file_id = OLD.id AND x.state IN ('started', 'unknown', 'deleted'))
    AND EXISTS (SELECT 1 FROM delivery d WHERE d.file_id = OLD.id AND d.state IN ('queued', 'uploading', 'failed'))
BEGIN
    SELECT raise(ABORT, 'the card has this file no longer, and it is still owed');
END;

CREATE TRIGGER deletion_insert AFTER INSERT ON deletion BEGIN
    UPDATE counter SET seq = seq + 1;
    UPDATE deletion SET seq = (SELECT seq FROM counter) WHERE id = NEW.id;
END;
CREATE TRIGGER deletion_update AFTER UPDATE ON deletion WHEN NEW.seq = OLD.seq BEGIN
    UPDATE counter SET seq = seq + 1;
    UPDATE deletion SET seq = (SELECT seq FROM counter) WHERE id = NEW.id;
END;
