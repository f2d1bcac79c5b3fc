-- Every row carries `seq`, the change number: the value of counter.seq when the row last changed.

CREATE TABLE counter (
    id  INTEGER PRIMARY KEY CHECK (id = 1),
    seq INTEGER NOT NULL
);
INSERT INTO counter (id, seq) VALUES (1, 0);

CREATE TABLE agent (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

-- The legal changes of state. The triggers below refuse every other.
CREATE TABLE transition (
    subject    TEXT NOT NULL CHECK (subject IN ('file', 'delivery')),
    from_state TEXT NOT NULL,
    to_state   TEXT NOT NULL,
    PRIMARY KEY (subject, from_state, to_state)
) WITHOUT ROWID;
INSERT INTO transition (subject, from_state, to_state) VALUES
    ('file', 'discovered', 'fetching'),
    ('file', 'discovered', 'gone'),
    ('file', 'discovered', 'skipped'),
    ('file', 'fetching', 'fetched'),
    ('file', 'fetching', 'discovered'),
    ('file', 'fetching', 'gone'),
    ('file', 'fetching', 'skipped'),
    ('file', 'fetched', 'evicted'),
    ('file', 'fetched', 'discovered'),
    ('file', 'evicted', 'fetching'),
    ('file', 'evicted', 'gone'),
    ('file', 'gone', 'discovered'),
    ('file', 'gone', 'skipped'),
    ('file', 'skipped', 'discovered'),
    ('delivery', 'queued', 'uploading'),
    ('delivery', 'queued', 'done'),
    ('delivery', 'queued', 'failed'),
    ('delivery', 'queued', 'skipped'),
    ('delivery', 'uploading', 'queued'),
    ('delivery', 'uploading', 'done'),
    ('delivery', 'uploading', 'failed'),
    ('delivery', 'uploading', 'skipped'),
    ('delivery', 'failed', 'queued'),
    ('delivery', 'failed', 'skipped'),
    ('delivery', 'skipped', 'queued');

CREATE TABLE camera (
    serial             TEXT PRIMARY KEY,
    is_serial_reported INTEGER NOT NULL,
    name               TEXT NOT NULL,
    manufacturer       TEXT NOT NULL,
    model              TEXT NOT NULL,
    firmware           TEXT NOT NULL,
    host               TEXT NOT NULL,
    port               INTEGER NOT NULL,
    backlog_since      TEXT,               -- camera-local; NULL: everything on the card is wanted
    first_met_at       TEXT NOT NULL,
    last_seen_at       TEXT NOT NULL,
    first_scan_at      TEXT,               -- when the first complete scan ended
    seq                INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

-- What did not work on a model of camera, so that it is not tried again.
CREATE TABLE model_memory (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

-- State of a configured camera (by its name, before its serial is known) or destination.
CREATE TABLE subject (
    kind       TEXT NOT NULL CHECK (kind IN ('camera', 'destination')),
    name       TEXT NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('ready', 'waiting', 'paused', 'off')),
    fault_code TEXT,
    reason     TEXT NOT NULL DEFAULT '',
    next_try_at TEXT,
    paused_by  TEXT,                       -- 'agent' for a fault that needs a person, else who asked
    since_at   TEXT NOT NULL,
    serial     TEXT,                       -- cameras: which body answered last under this name
    fingerprint TEXT,                      -- destinations: of the settings that were checked
    exclusive  TEXT CHECK (exclusive IN ('atomic', 'checked')),
    seq        INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (kind, name),
    CHECK (state <> 'paused' OR paused_by IS NOT NULL)
) WITHOUT ROWID;

CREATE TABLE file (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    serial       TEXT NOT NULL REFERENCES camera (serial),
    storage      INTEGER NOT NULL,
    folder       TEXT NOT NULL,
    name         TEXT NOT NULL,
    captured     TEXT NOT NULL,            -- as the camera wrote it, unconverted, without a zone
    size_bytes   INTEGER CHECK (size_bytes >= 0),
    identity     TEXT UNIQUE,              -- SHA-256 over (serial, storage, folder, name, size, captured)
    kind         TEXT NOT NULL,
    rank         INTEGER NOT NULL,         -- what goes first: smaller
    shot         INTEGER NOT NULL,         -- the camera's own number for RAW, JPEG, sound of one shot
    handle       INTEGER NOT NULL,         -- as last listed: for people and as a hint, never for identity
    is_protected INTEGER,
    seen_by      TEXT NOT NULL CHECK (seen_by IN ('event', 'scan')),
    state        TEXT NOT NULL CHECK (state IN ('discovered', 'fetching', 'fetched', 'evicted', 'gone', 'skipped')),
    generation   INTEGER NOT NULL DEFAULT 0,  -- how often the fetch began at byte 0
    sha256       TEXT,
    crc32c       TEXT,
    tries        INTEGER NOT NULL DEFAULT 0,
    waiting_for  TEXT,
    fault_code   TEXT,
    fault_detail TEXT NOT NULL DEFAULT '',
    next_try_at  TEXT,
    skipped_by   TEXT,
    skip_reason  TEXT,
    discovered_at TEXT NOT NULL,
    fetching_at  TEXT,
    fetched_at   TEXT,
    ended_at     TEXT,
    seq          INTEGER NOT NULL DEFAULT 0,
    CHECK (identity IS NOT NULL OR state IN ('discovered', 'gone', 'skipped')),
    CHECK ((identity IS NULL) = (size_bytes IS NULL)),
    CHECK (state NOT IN ('fetched', 'evicted') OR (sha256 IS NOT NULL AND fetched_at IS NOT NULL)),
    CHECK (state <> 'skipped' OR (skipped_by IS NOT NULL AND skip_reason IS NOT NULL))
);
CREATE INDEX file_place ON file (serial, storage, folder, name);
CREATE INDEX file_twin ON file (serial, folder, name, captured);
CREATE INDEX file_state ON file (state, id);
CREATE INDEX file_seq ON file (seq);

CREATE TABLE delivery (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    file_id      INTEGER NOT NULL REFERENCES file (id),
    destination  TEXT NOT NULL,
    wanted_key   TEXT NOT NULL,            -- what the template gave
    key          TEXT NOT NULL,            -- what it is, or will be, called there
    shared_with  INTEGER REFERENCES delivery (id),  -- the delivery of the same shot on the other card
    rank         INTEGER NOT NULL,
    captured     TEXT NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('queued', 'uploading', 'done', 'failed', 'skipped')),
    waiting_for  TEXT,
    token        TEXT NOT NULL,            -- what the backend needs to find its partial again
    generation   INTEGER NOT NULL DEFAULT 0,  -- the fetch that the partial was made from
    has_partial  INTEGER NOT NULL DEFAULT 0,  -- something may lie at the destination under the token
    tries        INTEGER NOT NULL DEFAULT 0,
    next_try_at  TEXT,
    fault_code   TEXT,
    fault_detail TEXT NOT NULL DEFAULT '',
    proof        TEXT CHECK (proof IN ('checksum', 'readback', 'size')),
    exclusive    TEXT CHECK (exclusive IN ('atomic', 'checked')),
    checksum     TEXT,
    location     TEXT,
    version      TEXT,
    skipped_by   TEXT,
    skip_reason  TEXT,
    queued_at    TEXT NOT NULL,
    started_at   TEXT,
    done_at      TEXT,
    seq          INTEGER NOT NULL DEFAULT 0,
    UNIQUE (file_id, destination),
    CHECK (state <> 'done' OR (done_at IS NOT NULL AND proof IS NOT NULL AND exclusive IS NOT NULL)),
    CHECK (state <> 'failed' OR fault_code IS NOT NULL),
    CHECK (state <> 'skipped' OR (skipped_by IS NOT NULL AND skip_reason IS NOT NULL))
);
-- Some stores know no upper and lower case; a suffix too many does no harm, a missing one would.
CREATE UNIQUE INDEX delivery_key ON delivery (destination, key COLLATE NOCASE) WHERE shared_with IS NULL;
CREATE INDEX delivery_next ON delivery (destination, rank, captured DESC, id DESC) WHERE state = 'queued';
CREATE INDEX delivery_leftover ON delivery (destination) WHERE state = 'skipped' AND has_partial = 1;
CREATE INDEX delivery_twin ON delivery (shared_with) WHERE shared_with IS NOT NULL;
CREATE INDEX delivery_state ON delivery (state, id);
CREATE INDEX delivery_seq ON delivery (seq);

CREATE TRIGGER file_state_change BEFORE UPDATE OF state ON file
WHEN OLD.state <> NEW.state AND NOT EXISTS (
    SELECT 1 FROM transition WHERE subject = 'file' AND from_state = OLD.state AND to_state = NEW.state)
BEGIN
    SELECT raise(ABORT, 'illegal change of a file''s state');
END;

CREATE TRIGGER delivery_state_change BEFORE UPDATE OF state ON delivery
WHEN OLD.state <> NEW.state AND NOT EXISTS (
    SELECT 1 FROM transition WHERE subject = 'delivery' AND from_state = OLD.state AND to_state = NEW.state)
BEGIN
    SELECT raise(ABORT, 'illegal change of a delivery''s state');
END;

CREATE TRIGGER camera_insert AFTER INSERT ON camera BEGIN
    UPDATE counter SET seq = seq + 1;
    UPDATE camera SET seq = (SELECT seq FROM counter) WHERE serial = NEW.serial;
END;
CREATE TRIGGER camera_update AFTER UPDATE ON camera WHEN NEW.seq = OLD.seq BEGIN
    UPDATE counter SET seq = seq + 1;
    UPDATE camera SET seq = (SELECT seq FROM counter) WHERE serial = NEW.serial;
END;
CREATE TRIGGER subject_insert AFTER INSERT ON subject BEGIN
    UPDATE counter SET seq = seq + 1;
    UPDATE subject SET seq = (SELECT seq FROM counter) WHERE kind = NEW.kind AND name = NEW.name;
END;
CREATE TRIGGER subject_update AFTER UPDATE ON subject WHEN NEW.seq = OLD.seq BEGIN
    UPDATE counter SET seq = seq + 1;
    UPDATE subject SET seq = (SELECT seq FROM counter) WHERE kind = NEW.kind AND name = NEW.name;
END;
CREATE TRIGGER file_insert AFTER INSERT ON file BEGIN
    UPDATE counter SET seq = seq + 1;
    UPDATE file SET seq = (SELECT seq FROM counter) WHERE id = NEW.id;
END;
CREATE TRIGGER file_update AFTER UPDATE ON file WHEN NEW.seq = OLD.seq BEGIN
    UPDATE counter SET seq = seq + 1;
    UPDATE file SET seq = (SELECT seq FROM counter) WHERE id = NEW.id;
END;
CREATE TRIGGER delivery_insert AFTER INSERT ON delivery BEGIN
    UPDATE counter SET seq = seq + 1;
    UPDATE delivery SET seq = (SELECT seq FROM counter) WHERE id = NEW.id;
END;
CREATE TRIGGER delivery_update AFTER UPDATE ON delivery WHEN NEW.seq = OLD.seq BEGIN
    UPDATE counter SET seq = seq + 1;
    UPDATE delivery SET seq = (SELECT seq FROM counter) WHERE id = NEW.id;
END;
