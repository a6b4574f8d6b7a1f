"""The archive that torch.save writes: a ZIP file of uncompressed records whose data begin on multiples of 64 bytes.

The layout is that of torch 2.13, record for record: padding in an extra field "FB", a data descriptor behind every record
that is not empty, sizes beyond 32 bits in ZIP64 fields, and the three closing structures. So torch may compute where a record
lies instead of looking for it, and a record can be mapped into memory where it lies. ZIP's own specification is PKWARE's
APPNOTE.TXT, 6.3.
"""
import hashlib
import io
import struct
import zipfile
import zlib

import numpy as np

ALIGNMENT = 64
VERSION = "3"                   # of the records' meaning; torch reads 1 to 10
READABLE = range(1, 11)

_LARGE = 0xFFFFFFFF             # a 32-bit field with this value says: see the ZIP64 field
_CHUNK = 1 << 20                # bytes checked and copied at a time, while they are in the cache
_LOCAL, _CENTRAL = struct.Struct("<4s5H3I2H"), struct.Struct("<4s6H3I5H2I")
_UTF8, _DESCRIPTOR = 0x0800, 0x0008
_CORRUPT = ("If you are seeing this error, there is a high likelihood that your checkpoint file is corrupted. This can happen if "
            "the checkpoint was not saved properly, was transferred incorrectly, or the file was modified after saving.")


class Writer:
    """Writes records to a file object, from its position on, without going back.

    Args:
        file: what the archive is written to; only its ``write`` is called.
        name (str): the folder inside the archive that all records are in.
        crc32 (bool): compute the records' checksums; without them other programs call the archive damaged.
        alignment (int): data begin on multiples of it.
    """

    def __init__(self, file, name="archive", crc32=True, alignment=ALIGNMENT):
        self.write, self.prefix = file.write, name + "/"
        self.crc32, self.alignment = crc32, alignment
        self.position, self.central, self.names = 0, [], []
        self.check = 0

    def record(self, name, data):
        """Writes one record.

        Args:
            name (str): its path below the archive's folder.
            data (bytes or uint8 ndarray): its content.
        """
        path, data = (self.prefix + name).encode(), memoryview(data).cast("B")
        size, start = len(data), self.position
        flags = _UTF8 | (_DESCRIPTOR if size else 0)
        extra, short = _zip64(size, size, start), min(size, _LARGE)
        padding = -(start + _LOCAL.size + len(path) + len(extra) + 4) % self.alignment
        local = _zip64(size, 0, start) + b"FB" + struct.pack("<H", padding) + b"Z" * padding
        # checksum and sizes follow behind the data
        self._put(_LOCAL.pack(b"PK\3\4", 0, flags, 0, 0, 0, 0, 0, 0, len(path), len(local)) + path + local)
        crc = self._put_checked(data)
        if size:
            self._put(struct.pack("<4sI2Q" if extra else "<4s3I", b"PK\7\10", crc, size, size))
        self.central.append(_CENTRAL.pack(b"PK\1\2", 0, 0, flags, 0, 0, 0, crc, short, short, len(path), len(extra), 0, 0, 0, 0,
                                          min(start, _LARGE)) + path + extra)
        self.names.append(name)
        self.check = zlib.crc32(struct.pack("<I", crc), self.check)

    def close(self):
        """Writes what ends an archive: the version, an identification of the content, and the table of contents."""
        self.record("version", VERSION.encode() + b"\n")
        names = hashlib.blake2b("\n".join(self.names).encode(), digest_size=8).digest()
        self.record(".data/serialization_id", b"%020d%020d" % (int.from_bytes(names, "little"), self.check))
        start, count, table = self.position, len(self.central), b"".join(self.central)
        self._put(table)
        end = self.position
        self._put(struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 0x031E, 45, 0, 0, count, count, len(table), start))
        self._put(struct.pack("<4sIQI", b"PK\6\7", 0, end, 1))
        short = min(count, 0xFFFF)
        self._put(struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, short, short, min(len(table), _LARGE), min(start, _LARGE), 0))

    def _put(self, data):
        self.write(data)
        self.position += len(data)

    def _put_checked(self, data):
        crc = 0
        for i in range(0, len(data), _CHUNK):
            part = data[i:i + _CHUNK]
            if self.crc32:
                crc = zlib.crc32(part, crc)
            self._put(part)
        return crc


def _zip64(size, packed, start):
    """The extra field for what does not fit 32 bits, or nothing."""
    sizes = (size, packed) if size >= _LARGE else ()
    numbers = (*sizes, start) if start >= _LARGE else sizes
    return struct.pack(f"<2H{len(numbers)}Q", 1, 8 * len(numbers), *numbers) if numbers else b""


def is_archive(file):
    """True when the bytes at the file's position, which is kept, begin an archive."""
    position = file.tell()
    magic = file.read(4)
    file.seek(position)
    return magic == b"PK\3\4"


class Reader:
    """Reads the records of an archive.

    Args:
        file: a file object with ``read``, ``seek`` and ``tell``.

    Raises:
        RuntimeError: the file is cut off, damaged, or no archive of torch's.
    """

    def __init__(self, file):
        self.file = file
        try:
            self.zip = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, NotImplementedError, struct.error, ValueError, OverflowError) as error:
            raise RuntimeError(f"PytorchStreamReader failed reading zip archive: failed finding central directory ({error}). "
                               f"{_CORRUPT}") from None
        names = self.zip.namelist()
        if not names:
            raise RuntimeError(f"PytorchStreamReader failed reading zip archive: it has no records. {_CORRUPT}")
        prefix, slash, _ = names[0].partition("/")
        if not slash:
            raise RuntimeError(f"PytorchStreamReader failed: file in archive is not in a subdirectory: {names[0]}")
        self.prefix, self.end = prefix + slash, file.seek(0, io.SEEK_END)
        self._check_version()

    def _check_version(self):
        name = "version" if "version" in self else ".data/version"
        if name not in self:
            raise RuntimeError("PytorchStreamReader failed: expected the archive to have a record 'version', but it has none; "
                               "torch.load reads only ZIP files that torch.save wrote")
        text = self.read(name).strip()
        if not text.isdigit() or int(text) not in READABLE:
            raise RuntimeError(f"Attempted to read a PyTorch file with version {text.decode('latin-1')}, but the supported "
                               f"versions for reading are {READABLE[0]} to {READABLE[-1]}.")

    def __contains__(self, name):
        return self.prefix + name in self.zip.NameToInfo

    def _info(self, name):
        found = self.zip.NameToInfo.get(self.prefix + name)
        if found is None:
            raise RuntimeError(f"PytorchStreamReader failed locating file {name}: file not found. {_CORRUPT}")
        return found

    def size(self, name):
        """Bytes of a record."""
        return self._info(name).file_size

    def offset(self, name):
        """Where a record's data begin in the file; None for a compressed record."""
        info = self._info(name)
        place, size = info.header_offset, info.file_size
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
            return None
        if 0 <= place <= self.end - size:
            self.file.seek(place)
            header = self.file.read(_LOCAL.size)
            if len(header) == _LOCAL.size and header[:4] == b"PK\3\4":
                place += _LOCAL.size + sum(_LOCAL.unpack(header)[-2:])
                if place + size <= self.end:
                    return place
        raise RuntimeError(f"PytorchStreamReader failed reading file {name}: its header is damaged. {_CORRUPT}")

    def read(self, name):
        """A record's content, as bytes."""
        self.offset(name)       # raises before a size that cannot be is believed
        return self.read_into(name, np.empty(self.size(name), np.uint8)).tobytes()

    def read_into(self, name, out):
        """Reads a record.

        Args:
            name (str): the record's path below the archive's folder.
            out (contiguous ndarray): what is filled; as many bytes as the record has.

        Returns:
            ``out``.
        """
        info, target = self._info(name), memoryview(out.reshape(-1).view(np.uint8))
        offset = self.offset(name)
        if offset is None:
            try:
                target[:] = self.zip.read(info)
            except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
                raise RuntimeError(f"PytorchStreamReader failed reading file {name}: {error}. {_CORRUPT}") from None
            return out
        crc = read_into(self.file, offset, target, info.CRC != 0)
        if crc is None:
            raise RuntimeError(f"PytorchStreamReader failed reading file {name}: file read failed. {_CORRUPT}")
        if info.CRC and crc != info.CRC:        # 0: whoever wrote the file left checksums out
            raise RuntimeError(f"PytorchStreamReader failed reading file {name}: its checksum is wrong. {_CORRUPT} If it was "
                               "changed on purpose, through a shared memory map, load it with mmap=True.")
        return out


def read_into(file, offset, target, checked=False):
    """Fills the memoryview ``target`` from ``offset`` (None: where the file is) on.

    Returns:
        The CRC-32 if ``checked``, else 0; None where the file ends too early.
    """
    if offset is not None:
        file.seek(offset)
    crc, place = 0, 0
    into = getattr(file, "readinto", None)
    while place < len(target):
        part = target[place:place + _CHUNK]
        if into is None:
            data = file.read(len(part))
            n = len(data)
            part[:n] = data
        else:
            n = into(part)
        if not n:
            return None
        if checked:
            crc = zlib.crc32(part[:n], crc)
        place += n
    return crc
