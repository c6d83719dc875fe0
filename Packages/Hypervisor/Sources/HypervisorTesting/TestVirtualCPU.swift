public import Hypervisor
internal import LinuxSys
internal import Synchronization

/// A vCPU that plays a script instead of running a guest. Once the script is over, `run` waits for a kick, like a guest that only computes.
@safe
public final class TestVirtualCPU: VirtualCPU, @unchecked Sendable {
    /// One return of `run`.
    public struct Step: Equatable, Sendable {
        public var exit: VCPUExit
        /// The items of a `portOut`.
        public var items: [UInt32]

        public init(_ exit: VCPUExit, items: [UInt32] = []) {
            self.exit = exit
            self.items = items
        }
    }

    struct State {
        var script: [Step]
        var next = 0
        var runs = 0
        var portAnswers: [[UInt32]] = []
        var mmioAnswers: [UInt64] = []
        var mp = MPState.runnable
        var x86 = TestX86State()
        var aarch64 = TestAArch64State()
        var statistics: [HypervisorStatistic] = []
    }

    public let id: UInt32
    let state: Mutex<State>
    let log: TestLog?
    // SAFETY: one byte that lives as long as this object; a signal handler on the running thread may set it.
    private let immediateExit: UnsafeMutablePointer<UInt8>

    public convenience init(id: UInt32, script: [Step] = []) { self.init(id: id, script: script, log: nil) }

    /// `log`: the machine's, which learns what the vCPU was told.
    init(id: UInt32, script: [Step], log: TestLog?) {
        self.id = id
        self.log = log
        state = Mutex(State(script: script))
        unsafe immediateExit = .allocate(capacity: 1)
        unsafe immediateExit.initialize(to: 0)
    }

    deinit { unsafe immediateExit.deallocate() }

    private var isKicked: Bool {
        // SAFETY: `Atomic<UInt8>` has the layout of the byte that the signal handler stores to.
        unsafe UnsafePointer(UnsafeRawPointer(immediateExit).assumingMemoryBound(to: Atomic<UInt8>.self)).pointee.load(ordering: .acquiring) != 0
    }

    public func run() -> VCPUExit {
        state.withLock { $0.runs += 1 }
        // As KVM does: an immediate exit comes before any instruction.
        if isKicked { return .interrupted }
        let step: Step? = state.withLock { state in
            guard state.next < state.script.count else { return nil }
            defer { state.next += 1 }
            if case .portIn = state.script[state.next].exit { state.portAnswers.append([]) }
            return state.script[state.next]
        }
        if let step { return step.exit }
        let sleeper = WaitWord()
        while !isKicked { sleeper.wait(while: 0, nanoseconds: 1_000_000) }
        return .interrupted
    }

    public func portItem(_ index: Int) -> UInt32 {
        state.withLock { state in
            guard state.next > 0, state.script[state.next - 1].items.indices.contains(index) else { return 0 }
            return state.script[state.next - 1].items[index]
        }
    }

    public func setPortItem(_ index: Int, _ value: UInt32) {
        state.withLock { state in
            guard let last = state.portAnswers.indices.last else { return }
            state.portAnswers[last].append(value)
        }
    }

    public func setMMIOValue(_ value: UInt64) { state.withLock { $0.mmioAnswers.append(value) } }

    public var immediateExitAddress: UInt { unsafe UInt(bitPattern: immediateExit) }

    public func setImmediateExit(_ on: Bool) {
        // SAFETY: as in `isKicked`.
        unsafe UnsafePointer(UnsafeRawPointer(immediateExit).assumingMemoryBound(to: Atomic<UInt8>.self)).pointee
            .store(on ? 1 : 0, ordering: .sequentiallyConsistent)
    }

    public func setMPState(_ state: MPState) throws(HypervisorError) { self.state.withLock { $0.mp = state } }
    public func mpState() throws(HypervisorError) -> MPState { state.withLock { $0.mp } }
    public var x86: (any X86VirtualCPU)? { self }
    public var aarch64: (any AArch64VirtualCPU)? { self }
    public func diagnosis() -> String { "" }

    public func statistics() -> [HypervisorStatistic] { state.withLock { $0.statistics } }
    public func setStatistics(_ statistics: [HypervisorStatistic]) { state.withLock { $0.statistics = statistics } }

    /// How often `run` was called.
    public var runs: Int { state.withLock { $0.runs } }
    /// Whether every step was played.
    public var scriptIsOver: Bool { state.withLock { $0.next >= $0.script.count } }
    /// What each `portIn` was answered, item by item.
    public var portAnswers: [[UInt32]] { state.withLock { $0.portAnswers } }
    public var mmioAnswers: [UInt64] { state.withLock { $0.mmioAnswers } }
}
