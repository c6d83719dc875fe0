public import Hypervisor
internal import LinuxSys
internal import Synchronization

/// A device's interrupt: why it was raised, and the line. Any thread, no lock: the guest's handler must not wait for the
/// thread that is serving the queue.
public final class VirtioInterrupt: Sendable {
    /// Bits of InterruptStatus (virtio 1.2, section 4.2.2).
    public static let usedBuffer: UInt32 = 1
    public static let configurationChange: UInt32 = 2

    private let pending = Atomic<UInt32>(0)
    /// Bits that are reported whatever `pending` holds.
    private let standing = Atomic<UInt32>(0)
    private let line: any InterruptLine
    private let count = Atomic<UInt64>(0)

    /// Of the device, for traces.
    let device: String

    public init(line: any InterruptLine, device: String = "") {
        self.line = line
        self.device = device
    }

    /// Events that the driver has not acknowledged yet.
    public var status: UInt32 { pending.load(ordering: .acquiring) | standing.load(ordering: .relaxed) }

    /// How often `raise` was called; it wraps.
    var raised: UInt64 { count.load(ordering: .relaxed) }

    /// Raises the interrupt for `reason`. The line is edge triggered, so each event is a pulse of its own: one that comes between
    /// the driver's read of the status and its acknowledgement is not lost.
    public func raise(_ reason: UInt32) {
        pending.bitwiseOr(reason, ordering: .acquiringAndReleasing)
        line.pulse()
        count.wrappingAdd(1, ordering: .relaxed)
        Trace.emit(.virtioInterrupt, device, UInt64(reason))
    }

    /// A descriptor that interrupts the guest for used buffers when somebody writes to it: the irqfd, for a back end that gives buffers back itself. It belongs to
    /// the line. Nil when the line has none: then the device has to watch the back end's descriptor and to call `raise`.
    ///
    /// Nobody can say afterwards whether the interrupt came from the back end, so InterruptStatus reports used buffers always, until the device is reset. A
    /// driver that looks for them in vain loses nothing: Linux's handler visits the rings and goes.
    public func delegateUsedBuffers() -> Int32? {
        guard let descriptor = line.eventDescriptor else { return nil }
        standing.store(Self.usedBuffer, ordering: .relaxed)
        return descriptor
    }

    func acknowledge(_ bits: UInt32) {
        pending.bitwiseAnd(~bits, ordering: .acquiringAndReleasing)
    }

    func clear() {
        standing.store(0, ordering: .relaxed)
        pending.store(0, ordering: .releasing)
    }
}
