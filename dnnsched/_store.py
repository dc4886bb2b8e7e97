"""Where a sweep keeps what it finished: checksummed files, and an index that can be made from them again.

::

    DIR/store/sweep.json           what is swept: function, package version, entropy; nothing of the grid
    DIR/store/points-000001.jsonl  one line per finished replication: CRC-32, space, JSON; a file per session
    DIR/store/index.sqlite         where each replication stands (SQLite, write-ahead log)
    DIR/store/lock                 held by the one process that writes

The files are the truth. A chunk of results is committed when its lines are appended and flushed to the disk
(``fsync``); only then the index learns of them, with the length of the file. Whatever kills the process, the next one
finds every committed line: lines the index has not seen are added to it, and a torn last line is cut off. A line that
breaks inside the committed length is damage, not a torn end, and is an error.

Only the coordinating process writes; workers hand their results to it.
"""

import fcntl
import json
import os
import sqlite3
import zlib
from pathlib import Path

from dnnsched._arrays import replace_file
from dnnsched.errors import FormatError, StateError

VERSION = 1
_TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE segment (name TEXT PRIMARY KEY, bytes INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE point (hash TEXT NOT NULL, replication INTEGER NOT NULL, seed INTEGER NOT NULL, key TEXT NOT NULL,
                    segment TEXT NOT NULL, offset INTEGER NOT NULL, bytes INTEGER NOT NULL,
                    PRIMARY KEY (hash, replication)) WITHOUT ROWID;
"""


def encode(row):
    """One line of a segment: checksum, space, JSON with the names in the row's order (that of the metrics counts)."""
    text = json.dumps(row, separators=(",", ":"), allow_nan=False).encode("ascii")
    return b"%08x %s\n" % (zlib.crc32(text), text)


def decode(line):
    """The row of a line, or None if the line is damaged."""
    if len(line) < 10 or line[8:9] != b" " or not line.endswith(b"\n"):
        return None
    text = line[9:-1]
    if line[:8] != b"%08x" % zlib.crc32(text):
        return None
    return json.loads(text)


def read_segment(path, committed=0):
    """Rows of a segment with their places.

    Parameters
    ----------
    path : pathlib.Path
    committed : int
        Bytes that the index knows to be complete.

    Returns
    -------
    list of (row, offset, length)
    int
        Length of the sound part; what follows is a torn end.

    Raises
    ------
    FormatError
        Damage inside the committed part, or before a sound line.
    """
    data = path.read_bytes()
    if len(data) < committed:
        raise FormatError(f"{path}: expected {committed} bytes that were committed, got {len(data)}")
    rows, at = [], 0
    for number, line in enumerate(data.splitlines(keepends=True), start=1):
        row = decode(line)
        if row is None:
            rest = data[at + len(line):].splitlines(keepends=True)
            if at < committed or (not committed and any(decode(other) is not None for other in rest)):
                raise FormatError(f"{path}: row {number}: damaged: its checksum does not match")
            break
        rows.append((row, at, len(line)))
        at += len(line)
    return rows, at


def _sync_folder(folder):
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class Store:
    """A sweep's store, open for writing; a context manager.

    Parameters
    ----------
    path : path-like
        The run directory; made if missing.
    header : dict
        What is swept (JSON types). A store of another sweep is refused.

    Attributes
    ----------
    rows : dict
        (hash, replication) -> row, all that is committed.
    torn : list of str
        Files whose torn end was cut off on opening.

    Raises
    ------
    StateError
        Another process uses the store, or it belongs to another sweep.
    FormatError
        A file of the store is damaged.
    PermissionError, OSError
        The folder cannot be written.
    """

    def __init__(self, path, header):
        self.folder = Path(path) / "store"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.rows, self.torn = {}, []
        self._segment = self._index = None
        self._lock = _locked(self.folder)
        try:
            self._check(header)
            self._index = _open_index(self.folder, header)
            self._load()
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Give the store back; what is committed stays."""
        if self._index is not None:
            self._index.close()
        for handle in (self._segment, self._lock):
            if handle is not None:
                os.close(handle)
        self._index = self._segment = self._lock = None

    def _check(self, header):
        path = self.folder / "sweep.json"
        if not path.exists():
            if any(self.folder.glob("points-*.jsonl")):
                raise FormatError(f"{path}: expected this file beside the points of a sweep")
            with replace_file(path) as stream:
                stream.write((json.dumps({"version": VERSION, **header}, indent=2, sort_keys=True) + "\n").encode())
                stream.flush()
                os.fsync(stream.fileno())
            return
        found = read_header(self.folder)
        now = json.loads(json.dumps(header))
        different = [f"{name}: stored {_short(a)}, now {_short(b)}" for name, a, b in _differences(found, now)]
        if different:
            raise StateError(f"{self.folder.parent}: holds another sweep: {'; '.join(different)}. Use another folder, "
                             "or remove this one")

    def _load(self):
        known = dict(self._index.execute("SELECT name, bytes FROM segment"))
        paths = {path.name: path for path in sorted(self.folder.glob("points-*.jsonl"))}
        for name in known.keys() - paths.keys():
            raise FormatError(f"{self.folder / name}: expected this file, the index has its points")
        for name, path in paths.items():
            rows, sound = read_segment(path, known.get(name, 0))
            if sound < path.stat().st_size:
                os.truncate(path, sound)
                self.torn.append(name)
            self._remember(rows, path)
            if sound > known.get(name, 0):
                _insert(self._index, name, sound, [r for r in rows if r[1] >= known.get(name, 0)])
        self._number = max((int(name[7:-6]) for name in paths), default=0) + 1
        self._size = 0

    def _remember(self, rows, path):
        for row, offset, _ in rows:
            place = row["hash"], row["replication"]
            if self.rows.setdefault(place, row)["metrics"] != row["metrics"]:
                raise FormatError(f"{path}: offset {offset}: another result for a replication that is stored already: "
                                  f"{row['key']}, replication {row['replication']}")

    def commit(self, rows):
        """Make finished replications durable, all or none visible.

        Parameters
        ----------
        rows : list of dict
            With ``hash``, ``replication``, ``seed``, ``key`` (str), ``origin`` and ``metrics``.
        """
        lines = [encode(row) for row in rows]
        if self._segment is None:
            self._name = f"points-{self._number:06d}.jsonl"
            self._segment = os.open(self.folder / self._name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o666)
            _sync_folder(self.folder)
        data = b"".join(lines)
        view = memoryview(data)
        while view:
            view = view[os.write(self._segment, view):]
        os.fsync(self._segment)
        placed, at = [], self._size
        for row, line in zip(rows, lines, strict=True):
            placed.append((row, at, len(line)))
            at += len(line)
        self._size = at
        _insert(self._index, self._name, at, placed)
        for row in rows:
            self.rows[row["hash"], row["replication"]] = row


def _insert(index, name, size, rows):
    with index:
        index.execute("BEGIN")
        index.executemany("INSERT OR IGNORE INTO point VALUES (?, ?, ?, ?, ?, ?, ?)",
                          [(row["hash"], row["replication"], row["seed"], row["key"], name, offset, length)
                           for row, offset, length in rows])
        index.execute("INSERT OR REPLACE INTO segment VALUES (?, ?)", (name, size))


def _locked(folder):
    """Descriptor of the lock file, locked; StateError naming the holder if it is taken."""
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(handle, 64).decode("ascii", "replace").strip() or "unknown"
        os.close(handle)
        raise StateError(f"{folder.parent}: in use by another sweep (process {holder})") from None
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"{os.getpid()}\n".encode("ascii"), 0)
    return handle


def read_header(folder):
    """What the store in this folder says about its sweep; FormatError if it cannot be read."""
    path = Path(folder) / "sweep.json"
    try:
        header = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FormatError(f"{path}: expected this file in a sweep's store") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise FormatError(f"{path}: not JSON: {error}") from None
    if not isinstance(header, dict) or header.pop("version", None) != VERSION:
        raise FormatError(f"{path}: expected a store of version {VERSION}")
    return header


def _differences(a, b, name=""):
    """(name, a, b) of every leaf at which two JSON values differ."""
    if isinstance(a, dict) and isinstance(b, dict):
        for part in sorted(a.keys() | b.keys()):
            yield from _differences(a.get(part), b.get(part), f"{name}.{part}" if name else part)
    elif a != b:
        yield name, a, b


def _short(value):
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:24] + "..." + text[-12:]


def _open_index(folder, header):
    path = folder / "index.sqlite"
    try:
        index = _connect(path)
        if not index.execute("SELECT count(*) FROM sqlite_master WHERE name = 'point'").fetchone()[0]:
            _create(index, header)
        return index
    except sqlite3.DatabaseError as error:
        raise FormatError(f"{path}: {error}; make it again from the files: dnnsched sweep --rebuild-index, or "
                          "dnnsched.sweeps.rebuild_index(DIR)") from None


def _connect(path):
    index = sqlite3.connect(path, isolation_level=None, timeout=10.0)
    index.execute("PRAGMA journal_mode = WAL")
    index.execute("PRAGMA synchronous = NORMAL")
    return index


def _create(index, header):
    with index:
        index.execute("BEGIN")
        for statement in _TABLES.split(";"):
            index.execute(statement)
        index.execute("INSERT INTO meta VALUES ('sweep', ?)", (json.dumps(header, sort_keys=True),))


def rebuild(path):
    """Make the index of a run directory's store from its files.

    Parameters
    ----------
    path : path-like
        Run directory of the sweep.

    Returns
    -------
    int
        Replications in the index.

    Raises
    ------
    FormatError
        There is no store, or a file of it is damaged.
    StateError
        A process uses the store.
    """
    folder = Path(path) / "store"
    header = read_header(folder)
    lock = _locked(folder)
    try:
        made = folder / "index.new"
        _remove_index(made)
        index = _connect(made)
        count = 0
        try:
            _create(index, header)
            for segment in sorted(folder.glob("points-*.jsonl")):
                rows, sound = read_segment(segment)
                if sound < segment.stat().st_size:
                    os.truncate(segment, sound)
                _insert(index, segment.name, sound, rows)
                count += len(rows)
            index.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            index.close()
        _remove_index(folder / "index.sqlite")
        os.replace(made, folder / "index.sqlite")
        _sync_folder(folder)
        return count
    finally:
        os.close(lock)


def _remove_index(path):
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


def summary(path):
    """What the store of a run directory holds, read without taking it.

    Parameters
    ----------
    path : path-like
        Run directory.

    Returns
    -------
    dict
        ``replications`` and ``points`` (numbers committed) and ``torn`` (bytes of torn ends, which the next opening
        cuts off).

    Raises
    ------
    FormatError
        A file is damaged.
    """
    folder = Path(path) / "store"
    read_header(folder)
    places, torn = set(), 0
    for segment in sorted(folder.glob("points-*.jsonl")):
        rows, sound = read_segment(segment)
        torn += segment.stat().st_size - sound
        places |= {(row["hash"], row["replication"]) for row, _, _ in rows}
    return {"replications": len(places), "points": len({h for h, _ in places}), "torn": torn}
