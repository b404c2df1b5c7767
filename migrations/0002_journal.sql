-- What happened to the box and on it, for its owner to read: a line each, or one for what came often. Bounded: see
-- backend/src/store/journal.rs.
CREATE TABLE journal (
    id      INTEGER PRIMARY KEY,                  -- counts up in the order of the first time
    at      INTEGER NOT NULL,                     -- the first time, seconds since 1970, by the box's clock
    until   INTEGER NOT NULL,                     -- the last time
    times   INTEGER NOT NULL CHECK (times > 0),
    kind    TEXT NOT NULL,
    often   INTEGER NOT NULL CHECK (often IN (0, 1)), -- 1: a stranger can cause it; such lines never push out the others
    who     TEXT NOT NULL,
    via     TEXT NOT NULL,
    what    TEXT NOT NULL,
    changes TEXT NOT NULL CHECK (json_valid(changes)) -- key, before, after; secrets masked
) STRICT;
