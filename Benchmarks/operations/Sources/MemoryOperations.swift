import AddressSpace
import LinuxSys
import Virtio

/// Entropy for the guest, and pages that it gives back.
func memoryOperations() throws -> [Operation] { try entropy() + balloon() }

private func entropy() throws -> [Operation] {
    let machine = try GuestMachine()
    let driver = try GuestDriver(machine, "rng", try VirtioRng(sourcePath: "/dev/urandom"))
    let data = machine.allocate(8192)
    try driver.rings[0].write([.writable(data, 2048), .writable(data + 2048, 2048)])
    let heads: [UInt16] = [0]
    return [.simple("entropy", "4 KiB in 2 pieces") { try driver.transfer(0, heads: heads) }]
}

private func balloon() throws -> [Operation] {
    let machine = try GuestMachine()
    let device = try VirtioBalloon(memorySize: 2 * GuestMachine.ramSize, options: .init(reportsFreePages: true))
    let driver = try GuestDriver(machine, "balloon", device, ringSize: 128)
    let list = machine.allocate(4096), pages = machine.allocate(4 << 20)
    // Every other page: as many pieces as there are numbers.
    for index in 0..<256 as Range<UInt64> { try machine.memory.store(UInt32(pages / 4096 + 2 * index), at: list + 4 * index) }
    func operation(_ name: String, _ queue: Int, _ buffers: [GuestRing.Buffer]) -> Operation {
        Operation("balloon", name) { rounds, measurement in
            try driver.rings[queue].write(buffers)
            let heads: [UInt16] = [0]
            try measurement.take { for _ in 0..<rounds { try driver.transfer(queue, heads: heads) } }
        }
    }
    return [
        operation("inflate by 256 pages", 0, [.readable(list, 1024)]), operation("deflate by 256 pages", 1, [.readable(list, 1024)]),
        operation("report 2 free pieces", 3, [.writable(pages, 1 << 20), .writable(pages + (2 << 20), 1 << 20)]),
    ]
}
