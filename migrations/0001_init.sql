-- A revision is one saved Settings: who, when, why, how far it came. The document is JSON in the words of the key table.
CREATE TABLE revision (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    at       INTEGER NOT NULL,                    -- seconds since 1970, by the box's clock
    who      TEXT NOT NULL,
    via      TEXT NOT NULL,
    comment  TEXT NOT NULL,
    state    TEXT NOT NULL CHECK (state IN ('saved', 'applied', 'confirmed', 'reverted')),
    base     INTEGER,                             -- the revision it was made from; none: factory state
    settings TEXT NOT NULL CHECK (json_valid(settings)),
    before   TEXT CHECK (before IS NULL OR json_valid(before)) -- the network it found, and in which boot, to put it back
) STRICT;

-- The one account. The row is made by the claim, once.
CREATE TABLE account (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    password   TEXT NOT NULL,                     -- PHC string of Argon2id
    claimed_at INTEGER NOT NULL
) STRICT;
