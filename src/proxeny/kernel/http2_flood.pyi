class FloodGuard:
    outbound: int
    outbound_control: int
