internal import LinuxSys

/// The connections of a device, and what is promised to the guest for them.
struct VsockTable {
    /// Bytes that a connection's buffer may have: as much as Firecracker's.
    static let largestBuffer: UInt32 = 64 << 10
    static let smallestBuffer: UInt32 = 4 << 10
    /// Bytes that are promised together while no connection has to be content with the smallest buffer. With those it is 20 MiB at most, which
    /// exist only while 1023 programs of the host do not read.
    static let promise: UInt32 = 16 << 20
    /// Where the ports of the host begin and end (2^30 and 2^31) that connections get which begin here.
    private static let hostPorts: Range<UInt32> = 1 << 30..<1 << 31

    let limit: Int
    private var slots: [VsockConnection?] = []
    private var free: [Int] = []
    private var byPorts: [UInt64: Int] = [:]
    private var promised: UInt32 = 0
    private var serial: UInt64 = 0
    private var nextHostPort = hostPorts.lowerBound

    /// At most `limit` connections, below 65,536.
    init(limit: Int) { self.limit = min(max(limit, 1), 0xffff) }

    var count: Int { slots.count &- free.count }
    var isFull: Bool { count >= limit }

    private static func key(_ hostPort: UInt32, _ guestPort: UInt32) -> UInt64 { UInt64(hostPort) << 32 | UInt64(guestPort) }

    subscript(slot: Int) -> VsockConnection? { slots.indices.contains(slot) ? slots[slot] : nil }

    /// The connection that an event is for; nil when it is gone.
    func find(token: UInt64) -> VsockConnection? {
        guard let connection = self[Int(token & 0xffff)], connection.token == token else { return nil }
        return connection
    }

    /// The connection as the guest knows it.
    func find(hostPort: UInt32, guestPort: UInt32) -> VsockConnection? {
        byPorts[Self.key(hostPort, guestPort)].flatMap { self[$0] }
    }

    func forEach(_ body: (VsockConnection) -> Void) {
        for connection in slots { if let connection { body(connection) } }
    }

    // MARK: Changes

    /// Nil, and the socket is closed, when there are too many.
    mutating func add(_ socket: consuming OwnedFD) -> VsockConnection? {
        guard !isFull else { return nil }
        let slot: Int
        if let last = free.popLast() {
            slot = last
        } else {
            slot = slots.count
            slots.append(nil)
        }
        serial &+= 1
        let connection = VsockConnection(slot: slot, token: serial << 16 | UInt64(slot), socket: socket)
        slots[slot] = connection
        return connection
    }

    /// From here on the guest's packets for these ports find the connection; false when another has them.
    mutating func setPorts(of connection: VsockConnection, host: UInt32, guest: UInt32) -> Bool {
        let key = Self.key(host, guest)
        guard byPorts[key] == nil else { return false }
        byPorts[key] = connection.slot
        connection.hostPort = host
        connection.guestPort = guest
        return true
    }

    /// The guest's packets do not find it any more.
    mutating func forgetPorts(of connection: VsockConnection) {
        let key = Self.key(connection.hostPort, connection.guestPort)
        if byPorts[key] == connection.slot { byPorts[key] = nil }
    }

    /// The socket is closed by now.
    mutating func remove(_ connection: VsockConnection) {
        guard slots.indices.contains(connection.slot), slots[connection.slot] === connection else { return }
        forgetPorts(of: connection)
        promised &-= connection.credit.buffer
        slots[connection.slot] = nil
        free.append(connection.slot)
    }

    /// What a new connection promises the guest: less for each when there are many.
    mutating func takeCredit() -> VsockCredit {
        let left = Self.promise > promised ? Self.promise &- promised : 0
        let buffer = min(max(left / 16, Self.smallestBuffer), Self.largestBuffer)
        promised &+= buffer
        return VsockCredit(buffer: buffer)
    }

    /// A port of the host that no connection has. Each time another one: a guest that has not noticed yet that a connection is over must not take the next for it
    /// (the class of Firecracker PR 5688).
    mutating func takeHostPort() -> UInt32 {
        while true {
            let port = nextHostPort
            nextHostPort = port &+ 1 == Self.hostPorts.upperBound ? Self.hostPorts.lowerBound : port &+ 1
            // There are far more ports than connections.
            if !slots.contains(where: { $0?.hostPort == port }) { return port }
        }
    }
}
