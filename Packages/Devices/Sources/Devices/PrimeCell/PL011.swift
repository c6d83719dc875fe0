public import AddressSpace
public import Hypervisor
public import LinuxSys
internal import Synchronization

/// A PL011 serial port (ARM DDI 0183; Linux's ttyAMA0) in front of a ``CharBackend``. The interrupt is a level.
///
/// Output goes to the backend a byte at a time without a system call on the vCPU's thread; the backend's loop writes what has gathered. When a lossless backend is
/// full, bytes stay in the transmit FIFO and the guest sees it fill, instead of the vCPU waiting. Input is bounded by `PL011Registers.backlogCapacity`; beyond
/// it the backend stops reading.
public final class PL011: RegionOps, PrimeCell, CharBackendClient {
    public static let registerBase: UInt64 = 0x0900_0000
    public static let registerSize: UInt64 = 0x1000
    public static let gsi: UInt32 = 1
    /// Its node in the device tree, for `stdout-path`.
    public static let devicePath = "/pl011@9000000"

    /// Revision r1p5 is the first with FIFOs of 32 bytes.
    static let identity = PrimeCellIdentity(part: 0x011, revision: 3)

    private struct State {
        var uart = PL011Registers()
        var isAsserted = false
    }

    private let line: any InterruptLine
    private let backend: any CharBackend
    private let state = Mutex(State())

    public init(line: any InterruptLine, backend: any CharBackend) {
        self.line = line
        self.backend = backend
    }

    public func attach(to memory: Region) throws(AddressSpaceError) {
        try memory.add(.io(name: "pl011", size: Self.registerSize, ops: self, maxAccessSize: 4), at: Self.registerBase)
    }

    /// Connects the backend; bytes flow once the loop runs.
    public func start(on loop: EventLoop) throws(CharBackendError) { try backend.start(on: loop, client: self) }

    /// Writes out what is left, within a fifth of a second, and lets the backend go.
    public func stop() { backend.stop() }

    // MARK: Guest side, vCPU threads

    public func read(offset: UInt64, size: Int) -> UInt64 { readWord(offset, size) }
    public func write(offset: UInt64, size: Int, value: UInt64) { writeWord(offset, size, value) }

    func readRegister(_ offset: UInt64) -> UInt32 {
        state.withLock { state in
            let hadRoom = state.uart.wantsInput
            let value = state.uart.read(offset)
            if !hadRoom, state.uart.wantsInput { backend.resumeReceiving() }
            updateLine(&state)
            return value
        }
    }

    func writeRegister(_ offset: UInt64, _ value: UInt32) {
        state.withLock { state in
            if let byte = state.uart.write(offset, value) { state.uart.sent(hasRoom: backend.send(byte)) }
            updateLine(&state)
        }
    }

    /// Only changes reach the line: a level costs a system call.
    private func updateLine(_ state: inout State) {
        let isAsserted = state.uart.maskedInterrupts != 0
        if isAsserted != state.isAsserted { line.set(level: isAsserted) }
        state.isAsserted = isAsserted
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
            state.uart.unblockTransmitter()
            while let byte = state.uart.nextToSend() { state.uart.sent(hasRoom: backend.send(byte)) }
            updateLine(&state)
        }
    }
}
