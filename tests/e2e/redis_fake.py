"""A server that says what a real one never would: each kind of reply can be told beforehand."""
import socket
import threading

INFO = b"redis_version:7.0.15\r\nrole:master\r\n"
SYNC = b"+FULLRESYNC " + b"a" * 40 + b" 7\r\n"


class FakeServer:
    """
    psync: what it says to PSYNC, in one piece or several; then it closes the connection, unless
    stays.  A list of lists: one for each time it is asked.
    """

    def __init__(self, *psync, info=INFO, ping=(), stays=False):
        self.psync, self.info, self.pings, self.stays = list(psync), info, list(ping), stays
        self.asked = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.serve, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()

    def serve(self):
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.talk, args=(peer,), daemon=True).start()

    def talk(self, peer):
        with peer:
            try:
                while words := peer.recv(4096):
                    if b"PSYNC" in words:
                        self.answer_psync(peer)
                        return
                    peer.sendall(self.answer(words))
            except OSError:
                return

    def answer(self, words):
        if b"PING" in words:
            return self.pings.pop(0) if self.pings else b"+PONG\r\n"
        if b"INFO" in words:
            return b"$%d\r\n%b\r\n" % (len(self.info), self.info)
        if b"CONFIG" in words or b"LIST" in words:
            return b"*0\r\n"
        return b"+OK\r\n"

    def answer_psync(self, peer):
        pieces = self.psync[min(self.asked, len(self.psync) - 1)]
        self.asked += 1
        for piece in pieces if isinstance(pieces, (list, tuple)) else [pieces]:
            peer.sendall(piece)
        if self.stays:
            while peer.recv(4096):
                pass
