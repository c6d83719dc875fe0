import AddressSpace
import LinuxSys
import Synchronization
import Testing
@testable import Virtio

@Suite struct VhostKernelTests {
    private static let ramSize: UInt64 = 1 << 20

    private func space(readOnlyTail: Bool = false) throws -> (AddressSpace, HostMemory) {
        let space = AddressSpace(name: "memory", size: 1 << 40)
        let ram = try HostMemory.anonymous(size: 2 * Self.ramSize)
        try space.root.add(try Region.ram(name: "ram", size: Self.ramSize, memory: ram), at: 0)
        if readOnlyTail {
            try space.root.add(
                try Region.ram(name: "rom", size: Self.ramSize, memory: ram, memoryOffset: Self.ramSize, readOnly: true), at: Self.ramSize)
        }
        return (space, ram)
    }

    private let good = QueueConfiguration(size: 128, descriptorTable: 0x1000, availableRing: 0x2000, usedRing: 0x3000)

    @Test func session_tellsTheKernelMemoryRingsAndEvents() throws {
        let (space, ram) = try space(readOnlyTail: true)
        let port = FakeVhost()
        let kernel = try VhostKernel(port: port)
        try kernel.setOwner()
        _ = port.takeCalls()
        try kernel.begin(features: VirtioFeature.version1 | VirtioFeature.eventIndex | 1 << 40, memory: space.memory)
        try kernel.start(queue: 1, good, memory: space.memory, kick: 10, call: 11, error: 12)
        let base = UInt64(ram.address)
        #expect(port.takeCalls() == [
            .setFeatures(VirtioFeature.version1 | VirtioFeature.eventIndex),
            .setMemory([VhostRegion(guestAddress: 0, size: Self.ramSize, hostAddress: base)]),
            .setRingSize(queue: 1, 128), .setRingBase(queue: 1, 0),
            .setRingAddresses(queue: 1, try VhostRing(good, memory: space.memory)),
            .setCall(queue: 1, 11), .setError(queue: 1, 12), .setKick(queue: 1, 10),
        ])
        let ring = try VhostRing(good, memory: space.memory)
        #expect(ring.descriptors == ram.address + 0x1000 && ring.available == ram.address + 0x2000 && ring.used == ram.address + 0x3000)
        port.state.withLock { $0.ringBase = 77 }
        #expect(kernel.stop(queue: 1) == 77)
        #expect(port.heldEvents == 0)
    }

    @Test func class22_ringAddressesAreCheckedAgain() throws {
        let (space, _) = try space(readOnlyTail: true)
        let port = FakeVhost()
        let kernel = try VhostKernel(port: port)
        try kernel.setOwner()
        _ = port.takeCalls()
        let bad: [(QueueConfiguration, QueueFault)] = [
            (.init(size: 0, descriptorTable: 0x1000, availableRing: 0x2000, usedRing: 0x3000), .badSize(0)),
            (.init(size: 3, descriptorTable: 0x1000, availableRing: 0x2000, usedRing: 0x3000), .badSize(3)),
            (.init(size: 65536, descriptorTable: 0x1000, availableRing: 0x2000, usedRing: 0x3000), .badSize(65536)),
            (.init(size: .max, descriptorTable: 0x1000, availableRing: 0x2000, usedRing: 0x3000), .badSize(.max)),
            (.init(size: 128, descriptorTable: 0x1008, availableRing: 0x2000, usedRing: 0x3000), .misalignedRing),
            (.init(size: 128, descriptorTable: 0x1000, availableRing: 0x2001, usedRing: 0x3000), .misalignedRing),
            (.init(size: 128, descriptorTable: 0x1000, availableRing: 0x2000, usedRing: 0x3002), .misalignedRing),
            // The end of the table, of the available ring and of the used ring is one byte outside.
            (.init(size: 128, descriptorTable: 2 * Self.ramSize - 2032, availableRing: 0x2000, usedRing: 0x3000), .ringOutsideRAM),
            (.init(size: 128, descriptorTable: 0x1000, availableRing: 2 * Self.ramSize - 260, usedRing: 0x3000), .ringOutsideRAM),
            (.init(size: 128, descriptorTable: 0x1000, availableRing: 0x2000, usedRing: Self.ramSize - 1028), .ringOutsideRAM),
            // The kernel would write to read-only RAM.
            (.init(size: 128, descriptorTable: 0x1000, availableRing: 0x2000, usedRing: Self.ramSize), .ringOutsideRAM),
            (.init(size: 128, descriptorTable: 0xffff_ffff_ffff_fff0, availableRing: 0x2000, usedRing: 0x3000), .ringOutsideRAM),
            (.init(size: 128, descriptorTable: 0x1000, availableRing: 0xffff_ffff_ffff_fffe, usedRing: 0x3000), .ringOutsideRAM),
        ]
        for (configuration, fault) in bad {
            #expect(throws: VhostError.ring(fault)) {
                try kernel.start(queue: 0, configuration, memory: space.memory, kick: 1, call: 2)
            }
        }
        #expect(port.takeCalls() == [])
    }

    @Test func everyFailure_saysWhichRequestWasRefused() throws {
        let (space, _) = try space()
        let port = FakeVhost()
        let kernel = try VhostKernel(port: port)
        try kernel.setOwner()
        for name in ["VHOST_SET_VRING_NUM", "VHOST_SET_VRING_BASE", "VHOST_SET_VRING_ADDR", "VHOST_SET_VRING_CALL", "VHOST_SET_VRING_ERR", "VHOST_SET_VRING_KICK"] {
            port.fail(name, .noMemory)
            do {
                try kernel.start(queue: 0, good, memory: space.memory, kick: 1, call: 2)
                Issue.record("\(name) did not fail")
            } catch {
                #expect(error.description == "the kernel refused \(name): Cannot allocate memory")
            }
            port.fail(name, nil)
            kernel.stop(queue: 0)
            #expect(port.heldEvents == 0)
        }
        #expect(throws: VhostError.refused(.setOwner, Errno(16))) { try kernel.setOwner() }
    }

    @Test func kernelWithoutVirtio1_isRefused() {
        #expect(throws: VhostError.tooOld) { _ = try VhostKernel(port: FakeVhost(features: 1 << 28)) }
    }

    @Test func descriptorOfSomethingElse_isRefusedAndClosed() throws {
        // A regular file is not even asked, /dev/null is asked and knows no such request.
        for descriptor in [try SysFile.open("/proc/self/exe", .readOnly).take(), try SysFile.open("/dev/null", .readWrite).take()] {
            #expect(throws: VhostError.notVhost(descriptor: descriptor, .notTypewriter)) { _ = try VhostKernel.adopt(descriptor) }
        }
        #expect(throws: VhostError.notVhost(descriptor: 1_000_000, .badDescriptor)) { _ = try VhostKernel.adopt(1_000_000) }
        #expect(VhostError.notVhost(descriptor: 7, .notTypewriter).description == "descriptor 7 is no vhost device: Inappropriate ioctl for device")
    }

    @Test func missingDeviceFile_saysWhichOne() {
        #expect(throws: VhostError.open(path: "/nonexistent/vhost", .noEntry)) { _ = try VhostKernel.open(path: "/nonexistent/vhost") }
        #expect(VhostError.open(path: "/dev/vhost-net", .noEntry).description == "cannot open /dev/vhost-net: No such file or directory")
    }
}
