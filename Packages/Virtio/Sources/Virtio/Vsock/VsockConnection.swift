internal import LinuxSys

/// A connection between a socket of the guest and a unix socket of the host. Used under the transport's lock.
///
/// What the guest is to be told follows from this state, so that a guest that takes nothing costs nothing more however much happens.
final class VsockConnection {
    enum Phase {
        /// A program of the host is to say which port it wants.
        case greeting
        /// The host asks: the request is on its way, or the guest is thinking.
        case requesting
        case established
        /// The guest has left, and what it sent waits for the host to read it. For the guest there is no connection any more.
        case flushing
        /// Over for the host; the guest is to be told.
        case resetting
        /// In no table any more.
        case over
    }

    /// What the guest is to be told at the next opportunity.
    struct Pending: OptionSet {
        let rawValue: UInt8
        static let request = Pending(rawValue: 1)
        static let response = Pending(rawValue: 2)
        static let creditUpdate = Pending(rawValue: 4)
        static let creditRequest = Pending(rawValue: 8)
    }

    let slot: Int
    /// By which an event of the socket finds its connection; never used twice.
    let token: UInt64
    private(set) var phase = Phase.greeting
    var hostPort: UInt32 = 0
    var guestPort: UInt32 = 0
    var pending: Pending = []
    var credit = VsockCredit(buffer: 0)
    /// Nanoseconds (CLOCK_MONOTONIC) at which patience ends; 0: there is no end.
    var deadline: UInt64 = 0

    /// -1 once it is closed.
    private(set) var socket: Int32
    private var file: OwnedFD?
    /// The socket has something to read, or the end of it, until a call says that it has not.
    var isReadable = false
    /// The socket took less than it was given: its descriptor is watched until it takes more.
    var isBlocked = false
    /// Bytes of the guest that wait for the socket.
    var buffer: VsockBuffer?

    /// What the host will not do any more, as far as that is known, and what the guest was told of it.
    var hostShutdown: VsockShutdown = []
    var toldShutdown: VsockShutdown = []
    /// What the guest will not do any more.
    var guestShutdown: VsockShutdown = []
    /// What of that the host's socket was told.
    var doneShutdown: VsockShutdown = []
    /// The guest has been asked for credit since it last gave some.
    private var hasAskedForCredit = false

    init(slot: Int, token: UInt64, socket: consuming OwnedFD) {
        self.slot = slot
        self.token = token
        self.socket = socket.raw
        file = consume socket
    }

    // MARK: Phases

    /// The ports are known: `credit` is what this side promises.
    func request(credit: VsockCredit, deadline: UInt64) {
        phase = .requesting
        self.credit = credit
        self.deadline = deadline
        pending = .request
    }

    /// The guest has asked, and the host's socket has accepted.
    func accept(credit: VsockCredit) {
        phase = .established
        self.credit = credit
        pending = .response
    }

    /// The guest has accepted.
    func establish() {
        phase = .established
        deadline = 0
    }

    func flush() {
        phase = .flushing
        deadline = 0
        pending = []
    }

    /// The socket is closed by now.
    func reset(deadline: UInt64) {
        phase = .resetting
        self.deadline = deadline
        pending = []
    }

    func end() { phase = .over }

    func close() {
        file = nil
        socket = -1
        buffer = nil
        isReadable = false
        isBlocked = false
    }

    /// Whether the guest has ever heard of it, and has not left.
    var isKnownToGuest: Bool {
        switch phase {
        case .greeting, .flushing, .over: false
        case .requesting: !pending.contains(.request)
        case .established, .resetting: true
        }
    }

    // MARK: What the guest is to be told

    /// The guest wants data, and the host may have some.
    private var wantsData: Bool { isReadable && !hostShutdown.contains(.send) && !guestShutdown.contains(.receive) }
    var canMoveData: Bool { phase == .established && wantsData && credit.available > 0 }

    /// There is something for the guest.
    var hasWork: Bool {
        switch phase {
        case .greeting, .flushing, .over: false
        case .requesting: !pending.isEmpty
        case .established: !pending.isEmpty || hostShutdown != toldShutdown || canMoveData
        case .resetting: true
        }
    }

    /// A packet without data that comes before any data: answers, and the end of what was sent before. Taken is told.
    func takeFirst() -> (VsockOperation, VsockShutdown)? {
        switch phase {
        case .greeting, .flushing, .over: return nil
        case .resetting: return (.reset, [])
        case .requesting:
            guard pending.contains(.request) else { return nil }
            pending.remove(.request)
            return (.request, [])
        case .established:
            if pending.contains(.response) {
                pending.remove(.response)
                return (.response, [])
            }
            // What the host has left to say comes first, if the guest takes it now: then both ends are told at once.
            guard hostShutdown != toldShutdown, !canMoveData else { return nil }
            toldShutdown = hostShutdown
            return (.shutdown, hostShutdown)
        }
    }

    /// A packet without data that any packet of data makes unnecessary, or that asks for leave to send some.
    func takeLast() -> VsockOperation? {
        guard phase == .established else { return nil }
        if pending.contains(.creditUpdate) {
            pending.remove(.creditUpdate)
            return .creditUpdate
        }
        guard pending.contains(.creditRequest) else { return nil }
        pending.remove(.creditRequest)
        return .creditRequest
    }

    /// After the guest has said what it takes, or the host that it has something.
    func updateCredit() {
        guard phase == .established else { return }
        if credit.owesUpdate { pending.insert(.creditUpdate) }
        if credit.available > 0 {
            hasAskedForCredit = false
            pending.remove(.creditRequest)
        } else if wantsData, !hasAskedForCredit {
            hasAskedForCredit = true
            pending.insert(.creditRequest)
        }
    }
}
