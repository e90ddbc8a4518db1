"""Data like a plant's: what the user's own system keeps, and whatever is hard to bring back."""
import contextlib

from postgres import ADMIN, ADMIN_PASSWORD, literal, quoted

DATABASE = "webscada"
ODD_DATABASE = """Werk "Süd" 1'a %50"""
ODD_TABLE = """Tür "A" 'b' 東"""
ODD_COLUMN = 'ß"'
ODD_SCHEMA = "Schéma ;--"
ODD_ROLE = """Schicht "Nord" ü'1"""
ODD_TABLESPACE = """Archiv "ä" 'x'"""
EMPTY_DATABASE = "leer"

SCHEMA = """
CREATE TABLE devices (id int PRIMARY KEY, name text NOT NULL, site text, config jsonb,
                      installed timestamptz);
CREATE TABLE tags (id int PRIMARY KEY, device_id int NOT NULL REFERENCES devices, name text,
                   unit text, UNIQUE (device_id, name));
CREATE TABLE telemetry (ts timestamptz NOT NULL, tag_id int NOT NULL REFERENCES tags,
                        value double precision, quality smallint) PARTITION BY RANGE (ts);
CREATE TABLE alarms (id bigserial PRIMARY KEY, device_id int REFERENCES devices,
                     raised timestamptz, cleared timestamptz, severity int CHECK (severity < 5),
                     message text);
CREATE TABLE users (name text PRIMARY KEY, display text, role text);
CREATE UNLOGGED TABLE live_values (tag_id int PRIMARY KEY, value double precision);
CREATE TABLE documents (name text PRIMARY KEY, content oid);
CREATE SEQUENCE order_number START 1000;
CREATE VIEW open_alarms AS SELECT * FROM alarms WHERE cleared IS NULL;
CREATE MATERIALIZED VIEW devices_per_site AS
    SELECT site, count(*) AS n FROM devices GROUP BY site;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS
    $$BEGIN NEW.display := upper(NEW.display); RETURN NEW; END$$;
CREATE TRIGGER users_touch BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION touch();
"""

DATA = """
INSERT INTO devices SELECT i, 'Pumpe ' || i, 'Halle ' || i % 4, jsonb_build_object('rpm', i * 10),
    '2024-01-01'::timestamptz + i * interval '1 day' FROM generate_series(1, 50) i;
INSERT INTO tags SELECT i, 1 + i % 50, 'tag.' || i, '°C' FROM generate_series(1, 200) i;
INSERT INTO telemetry SELECT '2025-11-01'::timestamptz + n * interval '60 s' + t * interval '1 ms',
    t, sin(n) * t, 192 FROM generate_series(0, 10079, {step}) n, generate_series(1, {tags}) t;
INSERT INTO alarms (device_id, raised, cleared, severity, message)
    SELECT 1 + i % 50, '2025-11-01'::timestamptz + i * interval '7 min',
    CASE WHEN i % 9 > 0 THEN '2025-11-01'::timestamptz + i * interval '9 min' END, i % 5,
    E'Druck zu hoch\\n"Kessel" ' || i FROM generate_series(1, 2000) i;
INSERT INTO users SELECT 'user' || i, 'Bediener ' || i, 'operator' FROM generate_series(1, 20) i;
INSERT INTO live_values SELECT i, i FROM generate_series(1, 200) i;
INSERT INTO documents SELECT 'plan-' || i,
    lo_from_bytea(0, decode(repeat(md5(i::text), 3000), 'hex')) FROM generate_series(1, 5) i;
SELECT nextval('order_number') FROM generate_series(1, 42);
REFRESH MATERIALIZED VIEW devices_per_site;
"""


def fill(server, database, step=20, tags=100):
    """The plant's tables and rows; 10080 / step * tags rows of telemetry."""
    with contextlib.closing(server.connect(database)) as conn, conn.cursor() as cursor:
        cursor.execute(SCHEMA)
        for day in range(1, 8):
            cursor.execute(f"CREATE TABLE telemetry_2025_11_{day:02} PARTITION OF telemetry "
                           f"FOR VALUES FROM ('2025-11-{day:02}') TO ('2025-11-{day + 1:02}')")
        cursor.execute("CREATE INDEX ON telemetry (tag_id, ts)")
        cursor.execute(DATA.format(step=step, tags=tags))
        cursor.execute("ANALYZE")


def make_roles(server):
    server.sql(f"CREATE ROLE {ADMIN} SUPERUSER LOGIN PASSWORD {literal(ADMIN_PASSWORD)};"
               f"CREATE ROLE {quoted(ODD_ROLE)} LOGIN PASSWORD {literal(ADMIN_PASSWORD)}")


def fill_odd(server, tablespace_folder):
    """A database whose every name is hard to quote, with a table in a tablespace."""
    server.sql(f"CREATE TABLESPACE {quoted(ODD_TABLESPACE)} OWNER {quoted(ODD_ROLE)} "
               f"LOCATION {literal(tablespace_folder)}")
    server.sql(f"CREATE DATABASE {quoted(ODD_DATABASE)} OWNER {quoted(ODD_ROLE)}")
    table = f"{quoted(ODD_SCHEMA)}.{quoted(ODD_TABLE)}"
    server.sql(f"CREATE SCHEMA {quoted(ODD_SCHEMA)};"
               f"CREATE TABLE {table} (\"a b\" int, {quoted(ODD_COLUMN)} text)"
               f" TABLESPACE {quoted(ODD_TABLESPACE)};"
               f"INSERT INTO {table} SELECT i, 'Wert ' || i FROM generate_series(1, 500) i;"
               f"ALTER TABLE {table} OWNER TO {quoted(ODD_ROLE)}", ODD_DATABASE)


def tables(server, database, kinds="r"):
    return server.sql(f"""
        SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
        WHERE relkind = ANY ('{{{",".join(kinds)}}}') AND nspname NOT LIKE 'pg\\_%'
        AND nspname <> 'information_schema' ORDER BY 1, 2""", database)


def counts(server, database):
    """{(schema, table): exact rows} of every table that holds rows of its own."""
    found = {}
    with contextlib.closing(server.connect(database)) as conn, conn.cursor() as cursor:
        for schema, table in tables(server, database):
            cursor.execute(f"SELECT count(*) FROM {quoted(schema)}.{quoted(table)}")
            found[schema, table] = cursor.fetchone()[0]
    return found


def fingerprint(server, database, skip=()):
    """Rows and a hash over all of them per table, large objects, and where sequences stand."""
    found = {}
    with contextlib.closing(server.connect(database)) as conn, conn.cursor() as cursor:
        cursor.execute("SET extra_float_digits = 3; SET timezone = 'UTC'")
        for schema, table in tables(server, database, "rm"):
            if (schema, table) in skip or table in skip:
                continue
            name = f"{quoted(schema)}.{quoted(table)}"
            cursor.execute(f"SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)), 0)::text "
                           f"FROM {name} t")
            found[schema, table] = cursor.fetchone()
        cursor.execute("SELECT oid, md5(lo_get(oid)) FROM pg_largeobject_metadata ORDER BY oid")
        found["large objects"] = cursor.fetchall()
        cursor.execute("SELECT schemaname, sequencename, last_value FROM pg_sequences ORDER BY 1, 2")
        found["sequences"] = cursor.fetchall()
        cursor.execute("SELECT count(*) FROM pg_constraint WHERE connamespace = "
                       "'public'::regnamespace")
        found["constraints"] = cursor.fetchone()
    return found
