public import AddressSpace
public import Hypervisor
internal import Synchronization

/// The bus of devices without a bus: hands out interrupts and windows of guest physical memory, lowest first.
///
/// Any thread may call it, but devices are placed in the order of the calls, which decides their addresses.
public final class SysBus: Sendable {
    /// Those of x86_64. First the ISA interrupts: GSI 5...15 as in StratoVirt, but not 8, which is the RTC's: Linux claims it unshared. Then the inputs of the I/O APIC that no ISA
    /// interrupt is connected to, without 16, the power button's. KVM's initial routing and the MADT (GSI base 0) give GSI n input n, and the DSDT says
    /// that it is an edge (ACPI 6.5 section 6.4.3.6); a kernel without ACPI cannot use these.
    public static let defaultInterrupts: [UInt32] = [5, 6, 7, 9, 10, 11, 12, 13, 14, 15] + Array(17...23)
    /// That of x86_64: between the event register of the power button and the I/O APIC.
    public static let defaultWindow: Range<UInt64> = 0xF010_0000..<0xFEC0_0000
    /// Bytes of guest physical memory a virtio-mmio device takes.
    public static let slotSize: UInt64 = 0x200

    private struct Reservation {
        let base: UInt64
        let gsi: UInt32
        /// Nil while the interrupt line is being made.
        var slot: SysBusSlot?
    }
    private struct State {
        var freeInterrupts: [UInt32]
        var reservations: [Reservation] = []
    }

    private let memory: Region
    private let ports: Region?
    private let machine: any VirtualMachine
    private let window: Range<UInt64>
    /// How many devices the interrupts are enough for.
    public let capacity: Int
    private let state: Mutex<State>

    /// `memory` and `ports` are containers in which offset 0 is guest physical address 0 and port 0. aarch64 has no ports; `interrupts` are in the order in
    /// which they are handed out.
    public init(
        memory: Region, ports: Region?, machine: any VirtualMachine, interrupts: [UInt32] = SysBus.defaultInterrupts,
        window: Range<UInt64> = SysBus.defaultWindow
    ) {
        self.memory = memory
        self.ports = ports
        self.machine = machine
        self.window = window
        capacity = interrupts.count
        state = Mutex(State(freeInterrupts: interrupts.reversed()))
    }

    /// Reserves a window of `SysBus.slotSize` bytes and an edge-triggered interrupt for the device called `name`.
    public func allocate(name: String) throws(SysBusError) -> SysBusSlot {
        let (base, gsi) = try state.withLock { state throws(SysBusError) -> (UInt64, UInt32) in
            guard let base = Self.lowestFree(in: window, besides: state.reservations) else {
                throw .addressesExhausted(device: name)
            }
            guard let gsi = state.freeInterrupts.popLast() else { throw .interruptsExhausted(device: name, limit: capacity) }
            state.reservations.append(Reservation(base: base, gsi: gsi))
            return (base, gsi)
        }
        do throws(HypervisorError) {
            let slot = SysBusSlot(
                name: name, base: base, size: Self.slotSize, gsi: gsi, line: try machine.makeInterruptLine(gsi: gsi))
            state.withLock { state in
                if let index = state.reservations.firstIndex(where: { $0.base == base }) {
                    state.reservations[index].slot = slot
                }
            }
            return slot
        } catch {
            free(base: base)
            throw .interruptLine(device: name, error)
        }
    }

    /// Puts the device's registers into its window; the region must not be larger.
    public func place(_ region: Region, in slot: SysBusSlot) throws(SysBusError) {
        guard region.size <= slot.size else { throw .regionTooLarge(device: slot.name) }
        do throws(AddressSpaceError) { try memory.add(region, at: slot.base) } catch {
            throw .addressSpace(device: slot.name, error)
        }
    }

    /// Puts a device at a fixed place of the port space.
    public func placePorts(_ region: Region, at port: UInt16) throws(SysBusError) {
        guard let ports else { throw .noPorts(device: region.name) }
        do throws(AddressSpaceError) { try ports.add(region, at: UInt64(port)) } catch {
            throw .addressSpace(device: region.name, error)
        }
    }

    /// Gives window and interrupt back, after the device's region has left the address space.
    public func release(_ slot: SysBusSlot) { free(base: slot.base) }

    /// The devices with a window, lowest address first.
    public var slots: [SysBusSlot] { state.withLock { $0.reservations.compactMap(\.slot) }.sorted { $0.base < $1.base } }

    private func free(base: UInt64) {
        state.withLock { state in
            guard let index = state.reservations.firstIndex(where: { $0.base == base }) else { return }
            state.freeInterrupts.append(state.reservations.remove(at: index).gsi)
            state.freeInterrupts.sort(by: >)
        }
    }

    private static func lowestFree(in window: Range<UInt64>, besides taken: [Reservation]) -> UInt64? {
        var base = window.lowerBound
        for other in taken.sorted(by: { $0.base < $1.base }) where other.base == base { base = base &+ slotSize }
        return window.contains(base) && window.upperBound - base >= slotSize ? base : nil
    }
}
