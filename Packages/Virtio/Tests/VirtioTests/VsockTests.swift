import AddressSpace
import Glibc
import HypervisorTesting
import LinuxSys
import Testing
@testable import Virtio

@Suite struct VsockTests {
    private struct Fixture {
        let port: FakeVhost
        let guest: DeviceGuest
    }

    private static let vsockFeatures = FakeVhost.allFeatures | 1 << 1

    private func fixture(cid: UInt64 = 3, features: UInt64 = VsockTests.vsockFeatures, hasEvent: Bool = true) throws -> Fixture {
        let port = FakeVhost(features: features)
        let device = try VhostVsock(guestCID: cid, kernel: try VhostKernel(port: port))
        return Fixture(port: port, guest: try DeviceGuest(device: device, on: DeviceGuest.memory(isShared: false), hasEvent: hasEvent))
    }

    // MARK: What the guest sees

    @Test func identity_isASocketDeviceWithItsCID() throws {
        let guest = try fixture(cid: 0x1234_5678).guest
        #expect(guest.read(.deviceID) == 19)
        #expect(guest.config(0, 8) == 0x1234_5678)
        #expect(guest.config(0, 4) == 0x1234_5678)
        #expect(guest.config(4, 4) == 0)
        #expect(guest.config(1, 1) == 0x56)
        #expect(guest.config(8, 8) == 0)
        guest.transport.write(offset: MMIORegister.config, size: 8, value: 9)
        #expect(guest.config(0, 8) == 0x1234_5678)
        for index in 0..<4 {
            guest.write(.queueSelect, UInt32(index))
            #expect(guest.read(.queueSizeMaximum) == (index < 3 ? 256 : 0))
        }
    }

    @Test func features_areOnlyThoseThatAnybodyNeeds() throws {
        // Logging, IOMMU and the like are the kernel's to offer and not ours to pass on.
        #expect(try fixture().guest.offeredFeatures == 1 << 1 | 1 << 28 | 1 << 29 | 1 << 32)
        #expect(try fixture(features: 1 << 32).guest.offeredFeatures == 1 << 32)
    }

    // MARK: Session

    @Test func activation_handsBothQueuesToTheKernel() throws {
        let fixture = try fixture()
        let guest = fixture.guest
        #expect(fixture.port.takeCalls() == [.getFeatures, .setOwner, .setGuestCID(3)])
        #expect(try guest.start(queues: [0, 1, 2]))
        let ring0 = try VhostRing(guest.place(0), memory: guest.memory)
        let ring1 = try VhostRing(guest.place(1), memory: guest.memory)
        let irqfd = try #require(guest.line.eventDescriptor)
        let error = try #require(fixture.port.errorEvent(0))
        let notifications = guest.transport.notifications.map(\.raw)
        let half = DeviceGuest.ramSize / 2
        let host = UInt64(guest.ram.address)
        let regions = [
            VhostRegion(guestAddress: 0, size: half, hostAddress: host),
            VhostRegion(guestAddress: 0x1_0000_0000, size: half, hostAddress: host + half),
        ]
        var wanted: [VhostCall] = [.setFeatures(0x1_3000_0002), .setMemory(regions)]
        for (queue, ring) in [(UInt32(0), ring0), (1, ring1)] {
            wanted += [.setRingSize(queue: queue, 16), .setRingBase(queue: queue, 0), .setRingAddresses(queue: queue, ring)]
            wanted += [.setCall(queue: queue, irqfd), .setError(queue: queue, error), .setKick(queue: queue, notifications[Int(queue)])]
        }
        wanted.append(.setRunning(true))
        let calls = fixture.port.takeCalls()
        #expect(calls == wanted)
        // The kernel interrupts without asking, so the handler always finds a reason.
        #expect(guest.read(.interruptStatus) == 1)
        guest.write(.status, 0)
        #expect(!fixture.port.isRunning)
        #expect(fixture.port.heldEvents == 0)
        #expect(guest.read(.interruptStatus) == 0)
    }

    @Test func lineWithoutAnEvent_isRaisedByTheDevice() throws {
        let fixture = try fixture(hasEvent: false)
        let guest = fixture.guest
        #expect(try guest.start(queues: [0, 1]))
        let call = try #require(fixture.port.callEvent(0))
        try OwnedFDBorrow.write(call, [1, 0, 0, 0, 0, 0, 0, 0])
        guest.serveSources()
        #expect(guest.line.pulses == 1)
        #expect(guest.read(.interruptStatus) == 1)
        guest.write(.interruptAcknowledge, 1)
        #expect(guest.read(.interruptStatus) == 0)
    }

    @Test func resetAndStartAgain_worksAnyNumberOfTimes() throws {
        let fixture = try fixture()
        for _ in 0..<20 {
            #expect(try fixture.guest.start(queues: [0, 1, 2]))
            #expect(fixture.port.isRunning)
        }
        fixture.guest.write(.status, 0)
        #expect(fixture.port.heldEvents == 0)
        #expect(fixture.port.takeCalls().filter { $0 == .setOwner }.count == 1)
    }

    // MARK: Errors

    @Test func cidInUse_saysSo() {
        let port = FakeVhost()
        port.fail("VHOST_VSOCK_SET_GUEST_CID", .addressInUse)
        do {
            _ = try VhostVsock(guestCID: 42, kernel: try VhostKernel(port: port))
            Issue.record("no error")
        } catch {
            #expect("\(error)" == "-device vhost-vsock-device: another virtual machine uses guest-cid=42")
        }
    }

    @Test func cidOutOfRange_saysTheRange() throws {
        for cid in [0, 1, 2, 1 << 32, .max] as [UInt64] {
            do {
                _ = try VhostVsock(guestCID: cid, kernel: try VhostKernel(port: FakeVhost()))
                Issue.record("no error")
            } catch {
                #expect("\(error)" == "-device vhost-vsock-device: guest-cid= must be a number from 3 to 4294967295, not '\(cid)'")
            }
        }
        // Linux refuses the last one of the range, VMADDR_CID_ANY.
        do {
            _ = try VhostVsock(guestCID: 0xffff_ffff, kernel: try VhostKernel(port: FakeVhost()))
            Issue.record("no error")
        } catch {
            #expect("\(error)" == "-device vhost-vsock-device: the kernel refused VHOST_VSOCK_SET_GUEST_CID: Invalid argument")
        }
        _ = try VhostVsock(guestCID: 0xffff_fffe, kernel: try VhostKernel(port: FakeVhost()))
    }

    @Test func descriptorThatIsNoVhost_saysWhich() throws {
        let descriptor = try SysFile.open("/dev/null", .readWrite).take()
        do {
            _ = try VhostVsock.open(guestCID: 3, descriptor: descriptor)
            Issue.record("no error")
        } catch {
            #expect(error.description == "-device vhost-vsock-device: descriptor \(descriptor) is no vhost device: Inappropriate ioctl for device")
        }
    }

    @Test func kernelThatRefuses_costsTheGuestTheDeviceOnly() throws {
        for name in [
            "VHOST_SET_FEATURES", "VHOST_SET_MEM_TABLE", "VHOST_SET_VRING_NUM", "VHOST_SET_VRING_BASE", "VHOST_SET_VRING_ADDR",
            "VHOST_SET_VRING_CALL", "VHOST_SET_VRING_ERR", "VHOST_SET_VRING_KICK", "VHOST_VSOCK_SET_RUNNING",
        ] {
            let fixture = try fixture()
            fixture.port.fail(name, .noMemory)
            try fixture.guest.start(queues: [0, 1, 2])
            fixture.guest.transport.serveResetRequest()
            #expect(fixture.guest.status.contains(.needsReset), "\(name)")
            #expect(fixture.port.heldEvents == 0 || name.hasPrefix("VHOST_SET_VRING"), "\(name)")
            // The guest may try again.
            fixture.port.fail(name, nil)
            #expect(try fixture.guest.start(queues: [0, 1, 2]), "\(name)")
            #expect(fixture.port.isRunning)
        }
    }
}

@Suite struct HostileVsockTests {
    private func fixture() throws -> (FakeVhost, DeviceGuest) {
        let port = FakeVhost()
        let device = try VhostVsock(guestCID: 3, kernel: try VhostKernel(port: port))
        return (port, try DeviceGuest(device: device, on: DeviceGuest.memory(isShared: false)))
    }

    @Test func class14_zeroQueuesOrOne_startNothing() throws {
        for queues in [[], [0], [1], [2], [0, 2], [1, 2]] as [[Int]] {
            let (port, guest) = try fixture()
            #expect(try guest.start(queues: queues))
            #expect(!port.isRunning)
            #expect(port.heldEvents == 0)
            for index in 0..<3 { guest.transport.serveQueue(index) }
            #expect(guest.status.isLive)
            guest.write(.status, 0)
        }
    }

    @Test func class22_badRings_neverReachTheKernel() throws {
        let end = DeviceGuest.ramSize / 2
        for (descriptors, available, used) in [
            (0xffff_ffff_ffff_fff0, 0x4000, 0x8000), (0x1_0000, end - 2, 0x8000), (0x1_0000, 0x4000, end - 4), (0x1_0001, 0x4000, 0x8000),
            (0x1_0000, 0x4001, 0x8000), (0x1_0000, 0x4000, 0x8002), (end, 0x4000, 0x8000), ((1 << 32) - 16, 0x4000, 0x8000),
        ] as [(UInt64, UInt64, UInt64)] {
            let (port, guest) = try fixture()
            _ = port.takeCalls()
            guest.negotiate()
            try guest.setUp(0, QueueConfiguration(size: 16, descriptorTable: descriptors, availableRing: available, usedRing: used))
            try guest.setUp(1)
            guest.write(.status, 15)
            #expect(guest.status.contains(.needsReset))
            #expect(port.takeCalls() == [])
        }
    }

    @Test func class22_ringThatTheKernelCannotUse_stopsTheDevice() throws {
        let (port, guest) = try fixture()
        try guest.start(queues: [0, 1, 2])
        let error = try #require(port.errorEvent(0))
        for _ in 0..<3 { try OwnedFDBorrow.write(error, [1, 0, 0, 0, 0, 0, 0, 0]) }
        guest.serveSources()
        #expect(guest.status.contains(.needsReset))
        #expect(!port.isRunning)
        #expect(port.heldEvents == 0)
        #expect(try guest.start(queues: [0, 1, 2]))
        #expect(port.isRunning)
    }

    @Test func class1_activationTwiceAndChangesAfterwards_changeNothing() throws {
        let (port, guest) = try fixture()
        try guest.start(queues: [0, 1, 2])
        _ = port.takeCalls()
        guest.write(.status, 15)
        for index in 0..<3 {
            guest.write(.queueSelect, UInt32(index))
            guest.write(.queueSize, 1)
            guest.write(.queueDescriptorLow, 0xdead_beef)
            guest.write(.queueReady, 1)
        }
        #expect(port.takeCalls() == [])
        #expect(port.isRunning)
    }

    @Test func class11_queueTakenBackOrFailed_stopsTheKernelFirst() throws {
        for index in 0..<2 {
            let (port, guest) = try fixture()
            try guest.start(queues: [0, 1, 2])
            guest.write(.queueSelect, UInt32(index))
            guest.write(.queueReady, 0)
            #expect(guest.read(.queueReady) == 0)
            #expect(!port.isRunning)
            #expect(port.heldEvents == 0)
        }
        let (port, guest) = try fixture()
        try guest.start(queues: [0, 1, 2])
        guest.write(.status, 15 | 128)
        #expect(!port.isRunning)
        // The event queue alone is nothing to the kernel.
        let (other, more) = try fixture()
        try more.start(queues: [0, 1, 2])
        more.write(.queueSelect, 2)
        more.write(.queueReady, 0)
        #expect(other.isRunning)
    }

    @Test func class19_eventQueueAbuse_isNotEvenLookedAt() throws {
        let (port, guest) = try fixture()
        try guest.start(queues: [0, 1, 2])
        _ = port.takeCalls()
        // A loop, a buffer outside of RAM, and an index that has jumped.
        try guest.offer(2, [Buffer(address: .max, length: .max, flags: 3, next: 0)])
        try guest.memory.store(UInt16(0x8000), at: guest.place(2).availableRing + 2)
        for _ in 0..<1000 {
            guest.kick(2)
            guest.transport.serveQueue(2)
        }
        #expect(guest.status.isLive)
        #expect(try guest.newUsed(2) == [])
        #expect(port.takeCalls() == [])
    }

    @Test func class20_kicksOfQueuesThatTheKernelServes_stayTheKernels() throws {
        let (port, guest) = try fixture()
        try guest.start(queues: [0, 1, 2])
        guest.transport.notifications[0].drain()
        guest.write(.queueNotify, 0)
        #expect(port.kick(0) == guest.transport.notifications[0].raw)
        #expect(guest.transport.notifications[0].drain() == 1)
        guest.write(.queueNotify, 3)
        guest.write(.queueNotify, .max)
        #expect(guest.status.isLive)
    }
}

/// Writes to a descriptor that somebody else owns.
enum OwnedFDBorrow {
    static func write(_ descriptor: Int32, _ bytes: [UInt8]) throws {
        try #require(Glibc.write(descriptor, bytes, bytes.count) == bytes.count)
    }
}
