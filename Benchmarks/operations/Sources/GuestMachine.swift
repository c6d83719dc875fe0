import AddressSpace
import Devices
import Hypervisor
import HypervisorTesting
import LinuxSys
import Virtio

/// Guest memory, a bus, and the event loop that serves the devices on it. Without a hypervisor the caller plays the guest.
final class GuestMachine {
    /// Twice: two mappings, neighbours in the guest, so that a buffer may lie in both.
    static let ramSize: UInt64 = 16 << 20

    let space = AddressSpace(name: "memory", size: 1 << 40)
    let ports = AddressSpace(name: "ports", size: 1 << 16)
    let loop: EventLoop
    let bus: SysBus
    /// What follows is free.
    private var nextPage: UInt64 = 0x1000

    var memory: GuestMemory { space.memory }

    /// `longestLook`: of the loop, nanoseconds.
    init(_ hypervisor: any VirtualMachine = TestVirtualMachine(), longestLook: UInt64 = 0) throws {
        loop = try EventLoop(longestLook: longestLook)
        try space.addListener(hypervisor.memoryListener())
        try ports.addListener(hypervisor.portListener())
        for (index, name) in ["low", "high"].enumerated() {
            let memory = try HostMemory.anonymous(size: Self.ramSize)
            try space.root.add(try Region.ram(name: name, size: Self.ramSize, memory: memory), at: UInt64(index) * Self.ramSize)
        }
        bus = SysBus(memory: space.root, ports: ports.root, machine: hypervisor)
        // All of it is there: a page that the host has to give is not what is measured.
        try memory.fill(at: 0, count: 2 * Self.ramSize)
    }

    /// Guest memory for the caller, in whole pages of the lower piece.
    func allocate(_ bytes: UInt64) -> UInt64 {
        defer { nextPage += (bytes + 4095) & ~4095 }
        precondition(nextPage + bytes <= Self.ramSize, "the guest's memory is used up")
        return nextPage
    }

    /// Waits for something to do, and does it.
    func turn() { loop.runOnce(timeoutMilliseconds: 1000) }

    /// Turns the loop until `isDone`.
    func turn(until isDone: () throws -> Bool) throws {
        let deadline = Clock.monotonicNanoseconds() + 20_000_000_000
        while try !isDone() {
            guard Clock.monotonicNanoseconds() < deadline else { throw OperationError.stuck }
            turn()
        }
    }
}

enum OperationError: Error {
    /// Nothing happens any more.
    case stuck
    case refused(String)
    case call(String, Errno)
}
