public import AddressSpace
public import Hypervisor
internal import Synchronization

/// A power key on pin 3 of a PL061 (ARM DDI 0190), which Linux's gpio-pl061 and gpio-keys make KEY_POWER. The interrupt is a level.
///
/// No time is right for the key to be held: a guest may be paused, busy or still booting. gpio-keys acknowledges the interrupt, lets 5 ms pass for the contacts to come
/// to rest and reads the pin; if that read 0, the press was nothing to it. So the key is held until the guest has read the pin as high with no edge left to
/// acknowledge, and released right then, which is an edge for the guest's next read. While nobody looks the pin just stays high: a driver that comes later
/// reads it when the key is opened, and a second press before is an edge again.
public final class PL061PowerKey: RegionOps, PrimeCell {
    public static let registerBase: UInt64 = 0x0903_0000
    public static let registerSize: UInt64 = 0x1000
    public static let gsi: UInt32 = 7
    /// The key's pin, as on QEMU's virt machine.
    public static let pin: UInt8 = 3

    static let identity = PrimeCellIdentity(part: 0x061, revision: 0)
    private static let pinBit: UInt8 = 1 << pin

    private struct State {
        var gpio = PL061Registers()
        var isHeld = false
        var isAsserted = false
    }

    private let line: any InterruptLine
    private let state = Mutex(State())

    public init(line: any InterruptLine) { self.line = line }

    public func attach(to memory: Region) throws(AddressSpaceError) {
        try memory.add(.io(name: "pl061", size: Self.registerSize, ops: self, maxAccessSize: 4), at: Self.registerBase)
    }

    /// Any thread. The key goes down; see above for when it goes up again.
    public func press() {
        state.withLock { state in
            if state.isHeld { state.gpio.drive(Self.pin, high: false) }
            state.isHeld = true
            state.gpio.drive(Self.pin, high: true)
            updateLine(&state)
        }
    }

    // MARK: Guest side, vCPU threads

    public func read(offset: UInt64, size: Int) -> UInt64 { readWord(offset, size) }
    public func write(offset: UInt64, size: Int, value: UInt64) { writeWord(offset, size, value) }

    func readRegister(_ offset: UInt64) -> UInt32 {
        state.withLock { state in
            let value = state.gpio.read(offset)
            if state.isHeld, offset <= PL061Registers.Register.lastData, Self.showsPress(value, state.gpio) {
                state.isHeld = false
                state.gpio.drive(Self.pin, high: false)
                updateLine(&state)
            }
            return value
        }
    }

    func writeRegister(_ offset: UInt64, _ value: UInt32) {
        state.withLock { state in
            state.gpio.write(offset, value)
            updateLine(&state)
        }
    }

    /// Whether a guest that read `value` of the pins is to be taken as having seen the key.
    private static func showsPress(_ value: UInt32, _ gpio: PL061Registers) -> Bool {
        value & UInt32(pinBit) != 0 && gpio.direction & pinBit == 0 && gpio.unacknowledgedEdges & pinBit == 0
    }

    private func updateLine(_ state: inout State) {
        let isAsserted = state.gpio.maskedInterrupts != 0
        if isAsserted != state.isAsserted { line.set(level: isAsserted) }
        state.isAsserted = isAsserted
    }
}
