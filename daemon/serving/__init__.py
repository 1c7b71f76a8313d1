"""The socket: who may connect, one task a client, frames in and out, events to everybody."""
