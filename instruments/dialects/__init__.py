"""Other tongues of instruments: ASTM E1381/E1394 and HL7 v2 over MLLP, as state machines without sockets."""
