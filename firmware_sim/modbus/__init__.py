"""Modbus meters as servers: over TCP, TLS, RTU frames over TCP, and RTU on a pseudo-terminal.

From "MODBUS Application Protocol V1.1b3", "MODBUS Messaging on TCP/IP V1.0b" and "MODBUS over Serial Line V1.02".
"""
