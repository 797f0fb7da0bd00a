"""A switch for networks of a test: frames go between the tap device LAN, which is made before, and its ports.

usage: switch.py LAN PORT... [--tag ID] [--lacp]

--tag ID  frames on the ports carry this 802.1Q tag; frames without it do not pass
--lacp    the ports are one aggregation group (IEEE 802.1AX): LACP is answered on each, and frames leave through the
          first port whose peer says that it collects

The log says of each port what its peer is doing. It touches no device but these.
"""

import argparse
import fcntl
import os
import select
import socket
import struct
import time

TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 2, 0x1000
SOL_PACKET, PACKET_AUXDATA, PACKET_OUTGOING, VLAN_VALID = 263, 8, 4, 1 << 4
SLOW = bytes.fromhex("0180c2000002")
SYSTEM = bytes.fromhex("020000000001")
# Active, short timeout, may aggregate, in sync, collecting, distributing.
WORKING = 0x3F
# The same before the peer has spoken: neither in sync nor sending.
ALONE = 0x47
SYNC, COLLECTING = 0x08, 0x10
# Three missing packets of one a second end a partnership.
SHORT_TIMEOUT = 3.5


class Port:
    def __init__(self, name, number):
        self.name, self.number, self.peer, self.heard, self.word = name, number, bytes(15), -99.0, ""
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self.socket.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        self.socket.bind((name, 0))

    def receive(self):
        """A frame and its VLAN, which the kernel may have taken out; nothing for what we sent ourselves."""
        frame, extra, _, source = self.socket.recvmsg(65535, 256)
        if source[2] == PACKET_OUTGOING:
            return None, None
        for level, kind, data in extra:
            if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
                status, *_, tag, _ = struct.unpack("IIIHHHH", data[:20])
                if status & VLAN_VALID:
                    return frame, tag & 0xFFF
        if frame[12:14] == b"\x81\x00":
            return frame[:12] + frame[16:], int.from_bytes(frame[14:16]) & 0xFFF
        return frame, None

    def send(self, frame):
        try:
            self.socket.send(frame)
        except OSError as error:
            # The cable is pulled.
            print(f"{self.name}: {error}", flush=True)

    def is_there(self):
        return time.monotonic() - self.heard < SHORT_TIMEOUT

    def is_collecting(self):
        return self.is_there() and self.peer[14] & SYNC and self.peer[14] & COLLECTING

    def hear(self, packet):
        """An LACP packet: subtype, version, then the actor's table of 20 bytes."""
        if len(packet) >= 42 and packet[:4] == b"\x01\x01\x01\x14":
            self.peer, self.heard = packet[4:19], time.monotonic()

    def speak(self):
        own = struct.pack("!H6sHHHB3x", 1, SYSTEM, 1, 1, self.number, WORKING if self.is_there() else ALONE)
        peer = self.peer + bytes(3)
        body = b"\x01\x01\x01\x14" + own + b"\x02\x14" + peer + b"\x03\x10" + bytes(14) + bytes(52)
        self.send(SLOW + SYSTEM[:5] + bytes([0x10 + self.number]) + b"\x88\x09" + body)
        word = "collects" if self.is_collecting() else "is there" if self.is_there() else "is silent"
        if word != self.word:
            print(f"{self.name}: peer {self.peer[2:8].hex(':')} {word}", flush=True)
            self.word = word


def open_tap(name):
    tap = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    return tap


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("lan")
    parser.add_argument("ports", nargs="+")
    parser.add_argument("--tag", type=int)
    parser.add_argument("--lacp", action="store_true")
    options = parser.parse_args()
    tap = open_tap(options.lan)
    ports = [Port(name, number) for number, name in enumerate(options.ports, 1)]
    due = time.monotonic()
    while True:
        if options.lacp and time.monotonic() >= due:
            due = time.monotonic() + 1
            for port in ports:
                port.speak()
        ready, _, _ = select.select([tap, *[port.socket for port in ports]], [], [], 1 if options.lacp else None)
        for port in ports:
            if port.socket in ready:
                frame, tag = port.receive()
                if frame is None:
                    continue
                if options.lacp and frame[12:14] == b"\x88\x09":
                    port.hear(frame[14:])
                elif tag == options.tag:
                    os.write(tap, frame)
        if tap in ready:
            frame = os.read(tap, 65535)
            if options.tag is not None:
                frame = frame[:12] + b"\x81\x00" + struct.pack("!H", options.tag) + frame[12:]
            for port in [port for port in ports if not options.lacp or port.is_collecting()][:1]:
                port.send(frame)


main()
