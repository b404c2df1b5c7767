-- A sum over what must not change unnoticed: SQLite has none over its pages, and a flipped bit in an address is still an address.
-- None: written by an earlier release.
ALTER TABLE revision ADD COLUMN sum INTEGER; -- of settings
ALTER TABLE account ADD COLUMN sum INTEGER; -- of password
