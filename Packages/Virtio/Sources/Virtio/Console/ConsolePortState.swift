/// A port as the guest sees it. Used under the transport's lock.
final class ConsolePortState {
    /// Control messages that the guest is to get, in the order in which it gets them. However often something changes, there is at most one of each: a guest
    /// that gives no buffers costs nothing.
    struct Messages: OptionSet {
        let rawValue: UInt8
        static let add = Messages(rawValue: 1)
        static let console = Messages(rawValue: 2)
        static let name = Messages(rawValue: 4)
        static let close = Messages(rawValue: 8)
        static let open = Messages(rawValue: 16)
        static let all: [Messages] = [.add, .console, .name, .close, .open]

        var first: Messages? { Self.all.first { contains($0) } }
    }

    let number: Int
    let kind: ConsolePort.Kind
    /// Not empty if there is one.
    let name: [UInt8]
    let link: ConsoleLink

    var pending: Messages = []
    /// The driver has set the port up.
    var isReady = false
    /// Somebody in the guest has opened the port.
    var isOpen = false
    /// What the guest believes of the host's side.
    var hasToldOpen = false
    /// Bytes that the back end already has of the buffer at the head of the transmit queue.
    var sent: UInt64 = 0

    init(_ port: ConsolePort, number: Int, link: ConsoleLink) {
        self.number = number
        kind = port.kind
        name = Array((port.name ?? "").utf8)
        self.link = link
    }

    /// What came from the host before stays: it may have been typed while the guest booted.
    func reset() {
        forget()
        sent = 0
    }

    /// The driver begins with the port anew.
    func forget() {
        pending = []
        isReady = false
        isOpen = false
        hasToldOpen = false
    }

    /// A console is always there, as in QEMU; other ports are there when a peer is.
    private var isHostOpen: Bool { kind == .console || link.isConnected }

    func becomeReady() {
        forget()
        isReady = true
        _ = link.takeHasLeft()
        if kind == .console { pending.insert(.console) }
        if !name.isEmpty { pending.insert(.name) }
        if isHostOpen { pending.insert(.open) }
    }

    /// Brings the messages about the host's side up to date.
    func updateOpen() {
        guard isReady, kind == .generic else { return }
        // The guest takes the end of the connection for the end of the data: it has to have that first, if it reads at all.
        if !(isOpen && link.hasInput), link.takeHasLeft() {
            pending.remove(.open)
            if hasToldOpen { pending.insert(.close) }
        }
        if isHostOpen, !hasToldOpen || pending.contains(.close) { pending.insert(.open) }
    }
}
