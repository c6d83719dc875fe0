internal import CAddressSpace
internal import Synchronization

/// Read sections without locks, after the kernel's sleepable RCU (Documentation/RCU/srcu). A reader adds one to a
/// counter, uses what is published, and subtracts one. The writer publishes first, then must see every counter at 0
/// once: whoever took the old pointer has left by then. Two phases keep a stream of new readers from holding up
/// the writer; stripes keep vCPUs off each other's cache lines. No class: each section would count a reference to it.
@safe
struct ReaderGate: ~Copyable, Sendable {
    /// Proof of an open section, and which counter to give back.
    @safe
    struct Ticket {
        /// SAFETY: points into the gate's counters; whoever holds a ticket holds the gate.
        fileprivate let counter: UnsafeMutablePointer<Atomic<Int>>
    }

    private static let stripes = 16
    private static let stride = 64
    private let phase = Atomic<Int>(0)
    /// SAFETY: stripes * stride bytes, each stripe starting with two Atomic<Int>, from init to deinit.
    private nonisolated(unsafe) let counters: UnsafeMutableRawPointer

    init() {
        unsafe counters = UnsafeMutableRawPointer.allocate(
            byteCount: ReaderGate.stripes * ReaderGate.stride, alignment: ReaderGate.stride)
        for stripe in 0..<ReaderGate.stripes {
            for phase in 0...1 {
                unsafe counter(stripe, phase).initialize(to: Atomic(0))
            }
        }
    }

    deinit { unsafe counters.deallocate() }

    @inline(__always)
    private func counter(_ stripe: Int, _ phase: Int) -> UnsafeMutablePointer<Atomic<Int>> {
        // SAFETY: stripe < stripes and phase < 2 at every call; see `counters`.
        unsafe (counters + (stripe &* ReaderGate.stride &+ phase &* 8)).assumingMemoryBound(to: Atomic<Int>.self)
    }

    /// Opens a section. Inside: no blocking, no foreign code, no transaction.
    @inline(__always)
    func enter() -> Ticket {
        // Thread control blocks lie a stack apart; the multiplication spreads them over the top 4 bits.
        let stripe = Int(truncatingIfNeeded: (UInt64(as_thread_token()) &* 0x9E37_79B9_7F4A_7C15) >> 60)
        let counter = unsafe counter(stripe, phase.load(ordering: .relaxed) & 1)
        // Sequentially consistent, as the load of the published pointer that follows and the writer's store and loads:
        // either the writer sees this count, or this reader sees the writer's pointer.
        unsafe counter.pointee.wrappingAdd(1, ordering: .sequentiallyConsistent)
        return unsafe Ticket(counter: counter)
    }

    @inline(__always)
    func leave(_ ticket: Ticket) {
        unsafe ticket.counter.pointee.wrappingSubtract(1, ordering: .releasing)
    }

    /// Waits until all who entered before the call have left; false when one stays for longer than `patience` yields.
    /// One writer at a time.
    func waitForReaders(patience: Int = 10_000) -> Bool {
        var left = patience
        for _ in 0...1 {
            let old = phase.load(ordering: .relaxed) & 1
            phase.store(old ^ 1, ordering: .relaxed)
            for stripe in 0..<ReaderGate.stripes {
                while unsafe counter(stripe, old).pointee.load(ordering: .sequentiallyConsistent) != 0 {
                    guard left > 0 else { return false }
                    left -= 1
                    as_yield()
                }
            }
        }
        return true
    }
}
