"""Asks every service in services.json whether it is there."""

import json
import pathlib
import socket

SERVICES = json.loads((pathlib.Path(__file__).parent / "services.json").read_text())


def answers(host: str, port: int, seconds: float = 2.0) -> bool:
    # TODO: a port that is open says little; ask for the health page.
    try:
        with socket.create_connection((host, port), timeout=seconds):
            return True
    except OSError:
        return False


def main() -> int:
    down = [s["name"] for s in SERVICES if not answers(s["host"], s["port"])]
    print("all well" if not down else "down: " + ", ".join(down))
    return 1 if down else 0


if __name__ == "__main__":
    raise SystemExit(main())
