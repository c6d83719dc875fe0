import AddressSpace
import COperations
import Virtio

/// What vCPUs and devices ask of the address space, in one with RAM, a dozen devices and holes.
func addressOperations() throws -> [Operation] {
    let machine = try GuestMachine()
    var drivers: [GuestDriver] = []
    for number in 0..<12 { drivers.append(try GuestDriver(machine, "disk\(number)", VirtioBlock(storage: nil), ringSize: 4)) }
    let (space, memory) = (machine.space, machine.memory)
    let register = drivers[7].address(0x60), acknowledge = drivers[7].address(0x64)
    let hole: UInt64 = 0xfee0_0000, ram: UInt64 = 0x1234_5678 % GuestMachine.ramSize & ~7
    let page = machine.allocate(4096), border = GuestMachine.ramSize - 2048
    var bytes = [UInt8](repeating: 7, count: 4096)
    func operation(_ name: String, _ body: @escaping () throws -> Void) -> Operation { .simple("address space", name, body) }
    return [
        operation("vCPU reads a register of a device") { operations_use(space.read(at: register, size: 4) ?? 0) },
        operation("vCPU writes a register of a device") { space.write(at: acknowledge, size: 4, value: 1) },
        operation("vCPU reads where nothing is") { operations_use(space.read(at: hole, size: 4) ?? 0) },
        operation("vCPU reads RAM, 8 bytes") { operations_use(space.read(at: ram, size: 8) ?? 0) },
        operation("device loads 4 bytes") { operations_use(UInt64(try memory.load(UInt32.self, at: ram))) },
        operation("device checks 4 KiB, one piece of RAM") { operations_use(UInt64(try memory.hostRange(at: page, count: 4096).address)) },
        operation("device checks 4 KiB in two pieces") {
            try memory.forEachHostRange(at: border, count: 4096) { operations_use(UInt64($0.address)) }
        },
        operation("device is refused 4 KiB beyond RAM") { operations_use((try? memory.hostRange(at: hole, count: 4096)) == nil ? 1 : 0) },
        operation("device reads 4 KiB") { try memory.read(at: page, into: &bytes) },
    ]
}
