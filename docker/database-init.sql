-- The Registry's database and its two users, who log in by certificate and have no password. crossfade_migrate owns the
-- tables and is used by the job `migrate` alone; crossfade, the running Registry, reads and writes rows.
CREATE DATABASE IF NOT EXISTS crossfade;
CREATE USER IF NOT EXISTS crossfade_migrate;
CREATE USER IF NOT EXISTS crossfade;
ALTER DATABASE crossfade OWNER TO crossfade_migrate;
REVOKE ALL ON DATABASE crossfade FROM crossfade;
GRANT CONNECT ON DATABASE crossfade TO crossfade;
USE crossfade;
-- Everybody may make tables there by default.
REVOKE CREATE ON SCHEMA public FROM public;
GRANT CREATE, USAGE ON SCHEMA public TO crossfade_migrate;
GRANT USAGE ON SCHEMA public TO crossfade;
-- Nobody but crossfade_migrate and administrators make tables there. Named, crossfade_migrate would be refused by
-- releases (22.1) in which an administrator says this of roles alone that it is a member of.
ALTER DEFAULT PRIVILEGES FOR ALL ROLES IN SCHEMA public
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO crossfade;
