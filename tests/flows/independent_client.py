"""Ship one file to the bridge. Written from docs/bridge.md alone; it shares no code with the project.

usage: independent_client.py ENDPOINT SERVER_KEY PUBLIC_KEY SECRET_KEY INSTRUMENT PLATE FILE
"""

import hashlib
import json
import pathlib
import sys
import time

import zmq

PART = 8_000
endpoint, server_key, public_key, secret_key, instrument, plate, path = sys.argv[1:]
data = pathlib.Path(path).read_bytes()
parts = [data[start : start + PART] for start in range(0, len(data), PART)] or [b""]
digest = hashlib.sha256(data).hexdigest()


def connect():
    """A DEALER socket with our keys; nothing vanishes where nobody listens."""
    socket = zmq.Context.instance().socket(zmq.DEALER)
    socket.setsockopt(zmq.IMMEDIATE, 1)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.RCVTIMEO, 20_000)
    socket.setsockopt(zmq.SNDTIMEO, 20_000)
    socket.curve_serverkey = server_key.encode()
    socket.curve_publickey = public_key.encode()
    socket.curve_secretkey = secret_key.encode()
    socket.connect(endpoint)
    return socket


def ask(socket, part):
    """Send one part and give its answer: type and header."""
    header = {
        "instrument": instrument, "run": plate, "plate": plate, "name": pathlib.Path(path).name,
        "sha256": digest, "size": len(data), "part": part, "parts": len(parts),
    }  # fmt: skip
    ident = f"{digest[:40]}-{part}".encode()
    socket.send_multipart([b"NAT1", b"RUN_FILE", ident, json.dumps(header).encode(), parts[part - 1]])
    while True:
        _, kind, answered, answer, _ = socket.recv_multipart()
        if answered == ident:
            return kind, json.loads(answer)


socket, wanted = connect(), [1]
while True:
    try:
        kind, answer = ask(socket, wanted[0])
    except zmq.Again:  # silence: connect anew and send again
        socket.close()
        socket = connect()
        continue
    if kind == b"ACK" and answer["complete"]:
        sys.exit(print(answer["status"]))
    if kind == b"ACK":
        wanted = answer["missing"]
    elif answer["status"] == "permanent":
        sys.exit(f"{answer['code']}: {answer['sentence']}")
    else:
        time.sleep(1)
