"""What the tools of Modbus lines share: the endpoint, one sample of a unit, who is there, registers from files."""
