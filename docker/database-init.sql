-- The Registry's database and its user, who logs in by certificate and has no password.
CREATE DATABASE IF NOT EXISTS crossfade;
CREATE USER IF NOT EXISTS crossfade;
GRANT ALL ON DATABASE crossfade TO crossfade;
