public import AddressSpace
public import Hypervisor
public import LinuxSys
internal import Synchronization

/// A 16550A serial port at 0x3f8, IRQ 4 (COM1, ttyS0), in front of a ``CharBackend``.
///
/// Output goes to the backend a byte at a time without a system call on the vCPU's thread; the backend's loop writes what has
/// gathered. When a lossless backend is full, the transmitter shows busy (THRE clear) instead of the vCPU waiting.
/// Input is bounded by `UARTRegisters.backlogCapacity`; beyond it the backend stops reading.
public final class Serial16550: RegionOps, ByteRegisters, CharBackendClient {
    public static let portBase: UInt16 = 0x3F8
    public static let portCount: UInt64 = 8
    public static let gsi: UInt32 = 4

    private struct State {
        var uart = UARTRegisters()
        /// `UARTRegisters.pendingCauses` when last looked at.
        var causes: UInt8 = 0
    }

    private let line: any InterruptLine
    private let backend: any CharBackend
    private let state = Mutex(State())

    public init(line: any InterruptLine, backend: any CharBackend) {
        self.line = line
        self.backend = backend
    }

    public func attach(to ports: Region) throws(AddressSpaceError) {
        try ports.add(.io(name: "serial", size: Self.portCount, ops: self), at: UInt64(Self.portBase))
    }

    /// Connects the backend; bytes flow once the loop runs.
    public func start(on loop: EventLoop) throws(CharBackendError) { try backend.start(on: loop, client: self) }

    /// Writes out what is left, within a fifth of a second, and lets the backend go.
    public func stop() { backend.stop() }

    // MARK: Guest side, vCPU threads

    public func read(offset: UInt64, size: Int) -> UInt64 { readBytes(offset, size) }
    public func write(offset: UInt64, size: Int, value: UInt64) { writeBytes(offset, size, value) }

    func readByte(_ offset: Int) -> UInt8 {
        state.withLock { state in
            let room = state.uart.wantsInput
            let value = state.uart.read(offset)
            if offset == 0 { refill(&state) }
            if !room, state.uart.wantsInput { backend.resumeReceiving() }
            updateLine(&state)
            return value
        }
    }

    func writeByte(_ offset: Int, _ value: UInt8) {
        state.withLock { state in
            let room = state.uart.wantsInput
            if let byte = state.uart.write(offset, value) { state.uart.setTransmitter(ready: backend.send(byte)) }
            refill(&state)
            if !room, state.uart.wantsInput { backend.resumeReceiving() }
            updateLine(&state)
        }
    }

    /// What follows from the backlog into an emptied FIFO is a new cause.
    private func refill(_ state: inout State) {
        updateLine(&state)
        state.uart.refillIfInterrupting()
    }

    /// The interrupt is an edge: one pulse when a cause begins, also while another lasts. A wire that is just high would be lost for ever with a driver that
    /// leaves its handler before every cause has ended, as Linux's does after many rounds. Filling the transmitter again is one cause, not one a byte.
    private func updateLine(_ state: inout State) {
        let causes = state.uart.pendingCauses
        if causes & ~state.causes != 0 { line.pulse() }
        state.causes = causes
    }

    // MARK: Host side, the loop's thread

    public func receiveRoom() -> Int { state.withLock { $0.uart.receiveRoom } }

    public func receive(_ bytes: ArraySlice<UInt8>) {
        state.withLock { state in
            state.uart.receive(bytes)
            updateLine(&state)
        }
    }

    public func transmitReady() {
        state.withLock { state in
            state.uart.setTransmitter(ready: true)
            updateLine(&state)
        }
    }
}
