internal import LinuxSys
internal import Synchronization

/// The host's side of a `VirtioBalloon`: what it should be, what it is, and what the guest says of its memory. Any thread may keep it; the device itself belongs
/// to its transport.
public final class BalloonHost: Sendable {
    /// Bytes; the unit of the device whatever pages the host and the guest have (virtio 1.2, section 5.5.6).
    public static let pageSize: UInt64 = 4096

    private struct State {
        /// Pages that should be in the balloon at least, since somebody said so.
        var wanted: UInt32 = 0
        /// Pages that `AutoBalloon` would like.
        var automatic: UInt32 = 0
        /// Pages that are in the balloon, as the driver says.
        var actual: UInt32 = 0
        var statistics = BalloonStatistics()
        var lastUpdate: UInt64 = 0
        /// Seconds; 0: nobody asks.
        var pollingInterval: UInt32 = 0
        var watcher: (@Sendable () -> Void)?
    }

    /// Bytes of RAM that the guest has without a balloon.
    public let memorySize: UInt64
    public let auto: AutoBalloon?
    private let memoryPages: UInt32
    private let state = Mutex(State())
    /// Expires when statistics are due.
    let timer: TimerFD

    init(memorySize: UInt64, auto: AutoBalloon?) throws(Errno) {
        self.memorySize = memorySize
        self.auto = auto
        memoryPages = UInt32(clamping: memorySize / Self.pageSize)
        timer = try TimerFD()
    }

    // MARK: Size

    /// Bytes of RAM that the guest has outside of the balloon.
    public var actualSize: UInt64 {
        let pages = state.withLock { $0.actual }
        return memorySize &- min(UInt64(pages) &* Self.pageSize, memorySize)
    }

    /// Has the driver fill the balloon until the guest has `bytes` left, or empty it; more than there is means all. Where the balloon follows the guest's need
    /// (`auto`), this is the most that it leaves to the guest. The caller tells the driver (`VirtioMMIODevice.configurationChanged`).
    public func setSize(_ bytes: UInt64) {
        let pages = (memorySize &- min(bytes, memorySize)) / Self.pageSize
        state.withLock { $0.wanted = UInt32(clamping: pages) }
    }

    /// Calls `body` whenever `actualSize` has changed: on a vCPU's thread, in the middle of a register access; it must return at once.
    public func watchSize(_ body: @escaping @Sendable () -> Void) { state.withLock { $0.watcher = body } }

    /// Pages that the driver should put into the balloon: `num_pages`.
    var target: UInt32 { state.withLock { max($0.wanted, $0.automatic) } }

    var actual: UInt32 { state.withLock { $0.actual } }

    /// The driver says how many pages are in the balloon; any number.
    func setActual(_ pages: UInt32) {
        let watcher: (@Sendable () -> Void)? = state.withLock { state in
            guard state.actual != pages else { return nil }
            state.actual = pages
            return state.watcher
        }
        watcher?()
    }

    // MARK: Statistics

    /// What the guest last said, and when, in seconds since 1970-01-01 UTC; 0 when it never did.
    public var statistics: (values: BalloonStatistics, lastUpdate: UInt64) { state.withLock { ($0.statistics, $0.lastUpdate) } }

    /// Seconds between two requests for statistics; 0, as in the beginning, asks for none.
    public var pollingInterval: UInt32 {
        get { state.withLock { $0.pollingInterval } }
        set {
            state.withLock { $0.pollingInterval = newValue }
            armTimer()
        }
    }

    func armTimer() {
        let polling = pollingInterval
        let seconds = switch (polling, auto?.interval) {
        case (let seconds, nil), (0, let seconds?): seconds
        case (let polling, let auto?): min(polling, auto)
        }
        if seconds == 0 { timer.disarm() } else { timer.arm(nanoseconds: UInt64(seconds) * 1_000_000_000) }
    }

    /// Takes over what a driver sent; true when `target` has changed by it.
    func take(_ bytes: Span<UInt8>, at seconds: UInt64) -> Bool {
        state.withLock { state in
            state.statistics = BalloonStatistics()
            state.statistics.take(bytes)
            state.lastUpdate = seconds
            guard let auto, let available = state.statistics[.availableMemory] ?? state.statistics[.freeMemory] else { return false }
            let old = max(state.wanted, state.automatic)
            let new = auto.target(available: available, inflated: state.actual, memory: memoryPages)
            let difference = new > state.automatic ? new - state.automatic : state.automatic - new
            guard difference > AutoBalloon.leastChange(memory: memoryPages) else { return false }
            state.automatic = new
            return max(state.wanted, new) != old
        }
    }

    /// The driver is gone, and with it what was in the balloon: every page may be used again.
    func driverLeft() {
        state.withLock { $0.automatic = 0 }
        setActual(0)
    }
}
