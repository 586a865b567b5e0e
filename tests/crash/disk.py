# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a disk holds after a power cut, as far as POSIX promises: told from the log of a process that
ran with crash-interpose.so preloaded.

Content is on disk when its file was flushed, a name when its folder was. What was not flushed may be
there, be missing, or, being content, be there in some of its sectors. Renames are atomic, and names
and contents get to disk in any order. After a flush that failed, what it was about is lost unless it
is written again: that is how Linux behaves.
"""

import hashlib
import os
import random

SECTOR = 512
EXCHANGE = 2


class File:
    def __init__(self, content=b""):
        self.content = bytearray(content)  # on disk
        self.pending = []                  # (offset, bytes) or (new size, None)

    def apply(self, content, change, keep_sector):
        at, data = change
        if data is None:
            del content[at:]
            content.extend(bytes(at - len(content)))
            return
        content.extend(bytes(max(0, at + len(data) - len(content))))
        start = at
        while start < at + len(data):
            end = min((start // SECTOR + 1) * SECTOR, at + len(data))
            if keep_sector():
                content[start:end] = data[start - at:end - at]
            start = end

    def flush(self):
        for change in self.pending:
            self.apply(self.content, change, lambda: True)
        self.pending = []

    def after(self, choice):
        """Its content after a power cut."""
        if not self.pending:
            return self.content
        content = bytearray(self.content)
        for change in self.pending:
            if choice.keeps_content():
                self.apply(content, change, choice.keeps_sector)
        if not choice.keeps_size():
            del content[len(self.content):]
        return content


class Folder:
    def __init__(self):
        self.names = {}     # on disk
        self.current = {}   # as the process sees it
        self.pending = []   # {name: File, Folder or None}

    def change(self, names):
        self.pending.append(names)
        self._apply(self.current, names)

    @staticmethod
    def _apply(entries, names):
        for name, node in names.items():
            if node is None:
                entries.pop(name, None)
            else:
                entries[name] = node

    def flush(self):
        pending, self.pending = self.pending, []
        for names in pending:
            self._apply(self.names, names)
            if isinstance(names, Move) and names in names.other.pending:
                names.other.flush()

    def after(self, choice):
        names = dict(self.names)
        for change in self.pending:
            if choice.keeps_change(change):
                self._apply(names, change)
        return names


class Move(dict):
    """One folder's part of a rename from a folder to another; `other`: that one. They are flushed as
    one."""

    def __init__(self, names, other, number):
        super().__init__(names)
        self.other = other
        self.number = number

    def __eq__(self, move):
        return isinstance(move, Move) and self.number == move.number


class Choice:
    """What becomes of each thing that was not flushed."""

    def __init__(self, name, content, sectors, size, names):
        self._name = name
        self.keeps_content, self.keeps_sector, self.keeps_size, self.keeps_name = \
            content, sectors, size, names
        self._moves = {}

    def keeps_change(self, names):
        """The two parts of a move are both there, or neither is."""
        if not isinstance(names, Move):
            return self.keeps_name()
        return self._moves.setdefault(names.number, self.keeps_name())

    def __str__(self):
        return self._name


def _always():
    return True


def _never():
    return False


def choices(seed, draws):
    """The corners, and `draws` at random."""
    found = [Choice("nothing that was not flushed", _never, _never, _never, _never),
             Choice("all", _always, _always, _always, _always),
             Choice("names only", _never, _never, _never, _always),
             Choice("names and sizes", _always, _never, _always, _always),
             Choice("content only", _always, _always, _always, _never)]
    for draw in range(draws):
        source = random.Random(f"{seed} {draw}")

        def coin(source=source):
            return source.random() < 0.5
        found.append(Choice(f"draw {draw} of seed {seed}", coin, coin, coin, coin))
    return found


class Disk:
    def __init__(self, root):
        """`root` as it is, all of it on disk."""
        self._nodes = {}
        self._move_count = 0
        self.root = self._scan(root)

    def _scan(self, path):
        info = os.stat(path)
        if os.path.isdir(path):
            node = Folder()
            for name in os.listdir(path):
                node.names[name] = node.current[name] = self._scan(os.path.join(path, name))
        else:
            with open(path, "rb") as file:
                node = File(file.read())
        self._nodes[f"{info.st_dev:x}:{info.st_ino:x}"] = node
        return node

    # ---- the log ----

    def knows(self, call):
        """Of several disks, whether the call was about this one."""
        return call.words[0].partition("/")[0] in self._nodes

    def apply(self, call):
        if call.name == "fsync" and call.error:
            node = self._nodes[call.words[0]]
            if isinstance(node, File):
                node.pending = []
        elif not call.error:
            getattr(self, "_" + call.name)(*call.words)

    def _place(self, text):
        identity, _, name = text.partition("/")
        return self._nodes[identity], name

    def _create(self, place, identity):
        folder, name = self._place(place)
        self._nodes[identity] = File()
        folder.change({name: self._nodes[identity]})

    def _mkdir(self, place, identity):
        folder, name = self._place(place)
        self._nodes[identity] = Folder()
        folder.change({name: self._nodes[identity]})

    def _write(self, identity, offset, data):
        data = bytes(int(data[1:])) if data.startswith("z") else bytes.fromhex(data)
        self._nodes[identity].pending.append((int(offset), data))

    def _truncate(self, identity, size):
        self._nodes[identity].pending.append((int(size), None))

    def _fsync(self, identity):
        self._nodes[identity].flush()

    def _syncfs(self, _):
        for node in self._nodes.values():
            node.flush()

    def _rename(self, old, new, flags):
        (folder, old_name), (new_folder, new_name) = self._place(old), self._place(new)
        if folder is not new_folder:
            assert not int(flags) & EXCHANGE, "an exchange between folders"
            self._move_count += 1
            node = folder.current[old_name]
            folder.change(Move({old_name: None}, new_folder, self._move_count))
            new_folder.change(Move({new_name: node}, folder, self._move_count))
            return
        other = folder.current.get(new_name) if int(flags) & EXCHANGE else None
        folder.change({old_name: other, new_name: folder.current[old_name]})

    def _link(self, old, new):
        (folder, old_name), (new_folder, new_name) = self._place(old), self._place(new)
        new_folder.change({new_name: folder.current[old_name]})

    def _unlink(self, place):
        folder, name = self._place(place)
        folder.change({name: None})

    def _fallocate(self, _, mode, __, ___):
        assert mode == "1", "space that is no reserve behind the end"

    def _fchmod(self, _):
        pass

    # ---- the power cut ----

    def after(self, choice):
        """{path: content, or None for a folder} below the root."""
        found = {}
        self._collect(self.root, "", choice, found)
        return found

    def _collect(self, folder, path, choice, found):
        for name, node in sorted(folder.after(choice).items()):
            if isinstance(node, Folder):
                found[path + name] = None
                self._collect(node, path + name + "/", choice, found)
            else:
                found[path + name] = node.after(choice)


class Call:
    """A line of the log."""

    def __init__(self, line):
        time, error, self.name, *self.words = line.split()
        self.time = int(time)
        self.error = int(error)

    def __str__(self):
        return f"{self.name} {' '.join(word[:80] for word in self.words)}" + \
            (f" (errno {self.error})" if self.error else "")


def read_log(path):
    with open(path, encoding="ascii") as file:
        # The last line may be cut: its process was killed.
        return [Call(line) for line in file if line.endswith("\n")]


def digest(tree):
    sum_of_all = hashlib.sha1()
    for path, content in tree.items():
        sum_of_all.update(f"{path} {-1 if content is None else len(content)}\n".encode())
        sum_of_all.update(content or b"")
    return sum_of_all.digest()


def put(tree, root):
    """Writes what after() found into the empty folder `root`."""
    for path, content in tree.items():
        path = os.path.join(root, path)
        if content is None:
            os.mkdir(path, 0o700)
        else:
            with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
                file.write(content)
