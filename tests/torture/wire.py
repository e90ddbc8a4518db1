"""The wire between blackstart and the server, which can be cut, held up, and led elsewhere."""
import contextlib
import selectors
import socket
import threading

CHUNK = 64 * 1024
# CopyBothResponse: from here on the server sends its log.
STREAMING = b"W\x00\x00\x00\x07\x00\x00\x00"


class Wire:
    """A TCP relay in a thread. Orders may come from any other thread."""

    def __init__(self, target):
        self.target = target  # port on this machine
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.listener.setblocking(False)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.listener, selectors.EVENT_READ, None)
        self.peers = {}  # socket -> the one on the other side
        self.servers = set()
        self.is_stopped = False
        self.is_refusing = False
        self.is_held = False
        self.hold_after = None  # relay so many bytes from the server, then hold
        self.hold_at_streaming = None
        self.cut_half = False
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()

    # --- orders -------------------------------------------------------------

    def lead_to(self, port):
        with self.lock:
            self.target = port
        self.cut()

    def cut(self):
        """Both ends see a closed connection."""
        with self.lock:
            self.close_all()

    def cut_mid_message(self):
        """The next piece from the server arrives half, and then the connection ends."""
        with self.lock:
            self.cut_half = True

    def hold(self, after=0):
        """Silence: connections stay open and nothing comes through any more."""
        with self.lock:
            self.hold_after = after if after > 0 else None
            self.is_held = after == 0

    def hold_when_streaming(self, after):
        """Silence when a server agreed to stream and has sent so many bytes more."""
        with self.lock:
            self.hold_at_streaming = after

    def refuse(self):
        with self.lock:
            self.is_refusing = True
            self.close_all()

    def mend(self):
        """As new. What was held is gone with its connections."""
        with self.lock:
            if self.is_held or self.hold_after is not None:
                self.close_all()
            self.is_held = self.is_refusing = self.cut_half = False
            self.hold_after = self.hold_at_streaming = None

    def stop(self):
        self.is_stopped = True
        self.thread.join()
        with self.lock:
            self.close_all()
        self.listener.close()
        self.selector.close()

    # --- work ---------------------------------------------------------------

    def work(self):
        while not self.is_stopped:
            for key, _ in self.selector.select(0.02):
                with self.lock:
                    if key.fileobj is self.listener:
                        self.take()
                    elif key.fileobj in self.peers:
                        self.relay(key.fileobj)

    def take(self):
        with contextlib.suppress(OSError):
            client, _ = self.listener.accept()
            if self.is_refusing:
                client.close()
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.target), timeout=2)
            except OSError:
                client.close()
                return
            for one, other in ((client, server), (server, client)):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                # Sends block, reads are asked for by the selector.
                one.settimeout(10)
                self.peers[one] = other
                self.selector.register(one, selectors.EVENT_READ, None)
            self.servers.add(server)

    def relay(self, source):
        if self.is_held:
            # Left in the socket's buffer; the selector would spin on it.
            self.thread_pause()
            return
        try:
            data = source.recv(CHUNK)
            if not data:
                self.close(source)
                return
            is_from_server = source in self.servers
            if is_from_server and self.cut_half:
                self.cut_half = False
                self.peers[source].sendall(data[:len(data) // 2])
                self.close_all()
                return
            if is_from_server and self.hold_at_streaming is not None and STREAMING in data:
                self.hold_after, self.hold_at_streaming = self.hold_at_streaming, None
            self.peers[source].sendall(data)
            if is_from_server and self.hold_after is not None:
                self.hold_after -= len(data)
                self.is_held = self.is_held or self.hold_after <= 0
        except OSError:
            self.close(source)

    def thread_pause(self):
        self.lock.release()
        try:
            threading.Event().wait(0.005)
        finally:
            self.lock.acquire()

    def close(self, one):
        for sock in (one, self.peers.get(one)):
            if sock is not None and sock in self.peers:
                del self.peers[sock]
                self.servers.discard(sock)
                self.selector.unregister(sock)
                sock.close()

    def close_all(self):
        for sock in list(self.peers):
            self.close(sock)
