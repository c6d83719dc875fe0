internal import CTap
internal import Glibc
internal import LinuxSys
internal import Synchronization

/// One queue of a tap: an open file of the tap device, non-blocking. Any thread; each direction is used by one thread at a time.
final class TapQueue: Sendable {
    private let file: OwnedFD
    /// The same open file under a second number: an event loop watches a number once, and the directions may be on one loop.
    private let second: OwnedFD
    /// Whether the kernel gives the queue packets. It is the tap's, which may go from one device to another.
    private let isEnabled = Atomic<Bool>(true)
    private let failure = Atomic<Bool>(false)

    init(_ file: consuming OwnedFD) throws(Errno) {
        second = OwnedFD(adopting: Int32(truncatingIfNeeded: try checked(ctap_duplicate(file.raw))))
        self.file = file
    }

    var receiveDescriptor: Int32 { file.raw }
    var transmitDescriptor: Int32 { second.raw }

    /// What the call returned, or -errno.
    /// SAFETY: `count` valid iovecs of memory that may be written.
    @unsafe
    func read(_ vectors: UnsafePointer<iovec>, _ count: Int) -> Int {
        while true {
            let result = unsafe ctap_readv(file.raw, vectors, Int32(truncatingIfNeeded: count))
            if result != -Int(EINTR) { return result }
        }
    }

    /// What the call returned, or -errno.
    /// SAFETY: `count` valid iovecs of memory that may be read.
    @unsafe
    func write(_ vectors: UnsafePointer<iovec>, _ count: Int) -> Int {
        while true {
            let result = unsafe ctap_writev(second.raw, vectors, Int32(truncatingIfNeeded: count))
            if result != -Int(EINTR) { return result }
        }
    }

    /// Throws away what has come while nobody wanted it, as far as a tap's default queue goes. Nobody may be reading.
    func discardWaiting() {
        unsafe withUnsafeTemporaryAllocation(byteCount: 64, alignment: 8) { buffer in
            // SAFETY: one vector that describes `buffer`; of a packet that is longer the kernel throws the rest away.
            var vector = unsafe iovec(iov_base: buffer.baseAddress, iov_len: buffer.count)
            for _ in 0..<1024 { guard unsafe read(&vector, 1) > 0 else { return } }
        }
    }

    /// TUNSETQUEUE: out of use the kernel gives the queue no packets, and nobody may watch it (it polls as an error).
    func setEnabled(_ on: Bool) throws(Errno) {
        // Once, also when the kernel refuses: a driver may ask for the same thing again and again.
        guard isEnabled.exchange(on, ordering: .acquiringAndReleasing) != on else { return }
        try checked(ctap_set_queue_enabled(file.raw, on))
        if on { failure.store(false, ordering: .releasing) }
    }

    /// Nothing more can be read: the interface is gone.
    var hasFailed: Bool { failure.load(ordering: .acquiring) }

    /// True the first time.
    func noteFailure() -> Bool { !failure.exchange(true, ordering: .acquiringAndReleasing) }

    /// TUNSETOFFLOAD: what the guest takes. Counts for the interface.
    func setOffloads(_ offloads: UInt32) throws(Errno) { try checked(ctap_set_offloads(file.raw, offloads)) }

    /// Offloads for negotiated features (virtio 1.2, section 5.1.3.1: all need GUEST_CSUM, as they do in the kernel).
    static func offloads(for features: UInt64, hasUFO: Bool) -> UInt32 {
        guard features & NetFeature.guestChecksum != 0 else { return 0 }
        var offloads = UInt32(CTAP_CHECKSUM)
        if features & NetFeature.guestTSO4 != 0 { offloads |= UInt32(CTAP_TSO4) }
        if features & NetFeature.guestTSO6 != 0 { offloads |= UInt32(CTAP_TSO6) }
        if hasUFO, features & NetFeature.guestUFO != 0 { offloads |= UInt32(CTAP_UFO) }
        return offloads
    }
}

/// Turns the result of a `ctap_` shim into a value or a thrown `Errno`.
@discardableResult
func checked(_ result: Int) throws(Errno) -> Int {
    if result < 0 { throw Errno(Int32(truncatingIfNeeded: 0 &- result)) }
    return result
}
