import AddressSpace
import BlockBackend
import Glibc
import HypervisorTesting
import LinuxSys
import Synchronization
import Testing
@testable import Virtio

/// The rules that every device owes to its transport, held by each of them: who serves the queues differs. Numbers are bug classes, as in `HostileQueueTests`.
@Suite struct EveryDeviceTests {
    enum Kind: CaseIterable {
        case disk, diskOfFourQueues, emptyDisk, network, emptyNetwork, streamNetwork, vhostNetwork, console, entropy, balloon,
            vsock, socketVsock, share, memory, persistentMemory, foreignDisk, trackedDisk, foreignNetwork

        /// Queues that the device takes from as soon as the driver is ready.
        var servedQueues: [Int] {
            switch self {
            case .disk, .emptyDisk, .entropy, .memory, .persistentMemory: [0]
            case .diskOfFourQueues: [0, 1, 2, 3]
            case .network, .streamNetwork: [0, 1, 2]
            case .emptyNetwork: [1, 2]
            case .console: [1, 3, 5]
            case .balloon: [0, 1, 2, 3]
            // The control queue stays here.
            case .vhostNetwork, .foreignNetwork: [2]
            // The receive queue is taken from when there is something to say.
            case .socketVsock: [1]
            case .vsock, .share, .trackedDisk: []
            // Descriptors are the back end's to look at.
            case .foreignDisk: []
            }
        }
    }

    /// A guest, and what plays the host.
    private final class Fixture {
        let guest: DeviceGuest
        let queues: [Int]
        private let loop: EventLoop
        private var keep: [Any] = []
        private var backEnd: FakeBackEnd?
        private let backEnds = BlockBackEnds()
        private var folder: String?

        init(_ kind: Kind) throws {
            loop = try EventLoop()
            let memory = try DeviceGuest.memory(isShared: [.share, .foreignDisk, .trackedDisk, .foreignNetwork].contains(kind))
            switch kind {
            case .disk: guest = try DeviceGuest(device: VirtioBlock(storage: try FakeStorage()), on: memory)
            case .diskOfFourQueues: guest = try DeviceGuest(device: VirtioBlock(storage: try FakeStorage(), options: .init(queueCount: 4)), on: memory)
            case .emptyDisk: guest = try DeviceGuest(device: VirtioBlock(storage: nil), on: memory)
            case .network, .emptyNetwork, .streamNetwork, .vhostNetwork:
                let wire = try Wire(kind == .streamNetwork ? .stream : .tap)
                let vhost = kind == .vhostNetwork ? [VhostNet(try VhostKernel(port: FakeVhost(features: FakeVhost.allFeatures | NetFeature.mergeableBuffers)))] : []
                let backend = kind == .emptyNetwork ? nil : NetGuest.backend([wire], vhost: vhost)
                keep.append(wire)
                guest = try DeviceGuest(
                    device: VirtioNet(options: NetOptions(mac: Frame.own), backend: backend, loops: NetLoops(rx: loop, tx: loop)), on: memory)
            case .console:
                let ports = [ConsolePort(kind: .console, backend: FakeChar()), ConsolePort(kind: .generic, name: "agent", backend: FakeChar())]
                guest = try DeviceGuest(device: try VirtioConsole(ports: ports), on: memory)
            case .entropy: guest = try DeviceGuest(device: try VirtioRng(sourcePath: "/dev/urandom"), on: memory)
            case .balloon: guest = try DeviceGuest(device: try VirtioBalloon(memorySize: DeviceGuest.ramSize, options: .init(reportsFreePages: true)), on: memory)
            case .vsock: guest = try DeviceGuest(device: try VhostVsock(guestCID: 3, kernel: try VhostKernel(port: FakeVhost())), on: memory)
            case .socketVsock:
                let folder = try VsockGuest.makeFolder()
                self.folder = folder
                guest = try DeviceGuest(device: try VirtioVsock.listen(guestCID: 3, path: folder + "/s"), on: memory)
            case .foreignDisk, .trackedDisk:
                backEnds.await(.init(protocolFeatures: kind == .trackedDisk ? BlockBackEnds.tracking : BlockBackEnds.protocolFeatures))
                guest = try DeviceGuest(device: try BlockBackEndFixture.device(backEnds), on: memory)
            case .foreignNetwork:
                backEnds.await(.init())
                let device = try VhostUserNet(try backEnds.dial(), "-netdev n", NetOptions(mac: Frame.own), limits: BlockBackEnds.limits, dial: nil)
                guest = try DeviceGuest(device: device, on: memory)
            case .share:
                let (backEnd, socket) = try FakeBackEnd.start()
                self.backEnd = backEnd
                let file = OwnedFD(adopting: socket)
                let device = try VhostUserFileSystem(VhostUserConnection(file), tag: "share", numRequestQueues: 1, limits: VhostUserFixture.limits)
                guest = try DeviceGuest(device: device, on: memory)
            case .memory: guest = try DeviceGuest(device: try VirtioMem(.init(id: "memory", base: 1 << 33), memory: FakeMemory(size: 64 << 20)), on: memory)
            case .persistentMemory: guest = try DeviceGuest(device: VirtioPmem(base: 1 << 33, size: 64 << 20, target: try FakeFlush()), on: memory)
            }
            queues = Array(0..<guest.transport.queueSizes.count)
        }

        deinit {
            guest.transport.reset()
            backEnd?.stop()
            if let folder {
                unlink(folder + "/s")
                rmdir(folder)
            }
        }

        /// What the loops would do.
        func serve() {
            for _ in 0..<5 {
                for queue in queues { guest.transport.serveQueue(queue) }
                loop.runOnce(timeoutMilliseconds: 0)
                guest.serveSources()
            }
            guest.transport.serveResetRequest()
        }

        func kickAll() {
            for queue in queues { guest.kick(queue) }
            serve()
        }

        func usedRing(_ queue: Int) throws -> [UInt8] { try guest.memory.bytes(at: guest.place(queue).usedRing, count: 6 + 8 * 16, limit: 4096) }
    }

    private static let registers: [MMIORegister] = [
        .queueSize, .queueDescriptorLow, .queueDescriptorHigh, .queueDriverLow, .queueDriverHigh, .queueDeviceLow, .queueDeviceHigh,
    ]

    @Test(arguments: Kind.allCases) func class1_queueRegistersOfARunningDevice_areFrozen(_ kind: Kind) throws {
        let fixture = try Fixture(kind)
        let guest = fixture.guest
        #expect(try guest.start(queues: fixture.queues))
        for queue in fixture.queues {
            guest.write(.queueSelect, UInt32(queue))
            for register in Self.registers { guest.write(register, 0x4242) }
            guest.write(.queueReady, 1)
            #expect(guest.transport.state.withLock { $0.queues[queue].configuration } == guest.place(queue))
        }
        guest.write(.driverFeatures, 0)
        for status in [1, 3, 7, 11] as [UInt32] { guest.write(.status, status) }
        #expect(guest.status.rawValue == 15)
        fixture.kickAll()
        #expect(guest.status.isLive)
    }

    @Test(arguments: Kind.allCases) func class1_and_3_ringsThatAreNotInRAM_needReset(_ kind: Kind) throws {
        let fixture = try Fixture(kind)
        let guest = fixture.guest
        let half = DeviceGuest.ramSize / 2
        for queue in fixture.queues {
            let good = guest.place(queue)
            // In a hole, in registers, across the end of a piece, at the end of all addresses, misaligned, of a size that is none.
            let changes: [(inout QueueConfiguration) -> Void] = [
                { $0.descriptorTable = half }, { $0.availableRing = 0xf010_0000 }, { $0.usedRing = half - 4 }, { $0.usedRing = (1 << 32) + half - 8 },
                { $0.descriptorTable = .max & ~15 }, { $0.availableRing = .max - 1 }, { $0.descriptorTable += 8 }, { $0.availableRing += 1 },
                { $0.usedRing += 2 }, { $0.size = 0 }, { $0.size = 3 }, { $0.size = 1 << 16 }, { $0.size = .max },
            ]
            for change in changes {
                var bad = good
                change(&bad)
                guest.negotiate()
                for other in fixture.queues { try guest.setUp(other, other == queue ? bad : nil) }
                guest.write(.status, 15)
                fixture.kickAll()
                #expect(guest.status.contains(.needsReset), "queue \(queue): \(bad)")
            }
        }
        #expect(try guest.start(queues: fixture.queues))
    }

    @Test(arguments: Kind.allCases) func class2_queuesThatAreNot_readZeroAndIgnoreWrites(_ kind: Kind) throws {
        let fixture = try Fixture(kind)
        let guest = fixture.guest
        guest.negotiate()
        for select in [UInt32(fixture.queues.count), 255, 0x7fff_ffff, 0x8000_0000, .max] {
            guest.write(.queueSelect, select)
            for register in Self.registers { guest.write(register, 0x1000) }
            guest.write(.queueReady, 1)
            #expect(guest.read(.queueSizeMaximum) == 0)
            #expect(guest.read(.queueReady) == 0)
        }
        for queue in fixture.queues { try guest.setUp(queue) }
        guest.write(.status, 15)
        #expect(guest.status.isLive)
    }

    @Test(arguments: Kind.allCases) func class14_queuesThatAreNotReady_areNeverTouched(_ kind: Kind) throws {
        let fixture = try Fixture(kind)
        let guest = fixture.guest
        guest.negotiate()
        for queue in fixture.queues {
            try guest.setUp(queue)
            guest.write(.queueReady, 0)
            try guest.offer(queue, [.writable(0x1000, 64)])
            try guest.memory.fill(at: guest.place(queue).usedRing, count: 256, byte: 0x5a)
        }
        guest.write(.status, 15)
        fixture.kickAll()
        for queue in fixture.queues { #expect(try fixture.usedRing(queue).allSatisfy { $0 == 0x5a }) }
        #expect(guest.status.isLive)
    }

    @Test(arguments: Kind.allCases) func class19_availableIndexThatJumps_needsReset(_ kind: Kind) throws {
        for queue in kind.servedQueues {
            let fixture = try Fixture(kind)
            let guest = fixture.guest
            try guest.start(queues: fixture.queues)
            try guest.memory.storeRelease16(17, at: guest.place(queue).availableRing + 2)
            fixture.kickAll()
            #expect(guest.status.contains(.needsReset), "queue \(queue)")
            let before = try fixture.usedRing(queue)
            try guest.memory.storeRelease16(1, at: guest.place(queue).availableRing + 2)
            fixture.kickAll()
            #expect(try fixture.usedRing(queue) == before)
            #expect(try guest.start(queues: fixture.queues))
        }
    }

    @Test(arguments: Kind.allCases) func class18_and_19_chainsOutsideOfRAMAndLoops_needReset(_ kind: Kind) throws {
        for queue in kind.servedQueues {
            // Registers; an end that wraps; a loop of one; a table inside a table; a table that is no table.
            let chains: [(address: UInt64, length: UInt32, flags: UInt16)] = [
                (0xf010_0000, 64, 0), (.max - 8, 64, Descriptor.write), (0x1000, 64, Descriptor.next), (0x1000, 15, Descriptor.indirect),
                (0x1000, 16, Descriptor.indirect | Descriptor.next),
            ]
            for chain in chains {
                let fixture = try Fixture(kind)
                let guest = fixture.guest
                try guest.start(queues: fixture.queues)
                try guest.offer(queue, [Buffer(address: chain.address, length: chain.length, flags: chain.flags)])
                try guest.memory.store(chain.flags, at: guest.place(queue).descriptorTable + 12)
                try guest.memory.store(UInt16(0), at: guest.place(queue).descriptorTable + 14)
                fixture.kickAll()
                #expect(guest.status.contains(.needsReset), "queue \(queue): \(chain)")
            }
        }
    }

    @Test(arguments: Kind.allCases) func class20_notificationsOfQueuesThatAreNot_areIgnored(_ kind: Kind) throws {
        let fixture = try Fixture(kind)
        let guest = fixture.guest
        #expect(try guest.start(queues: fixture.queues))
        for value in [UInt32(fixture.queues.count), 1 << 16, 0x7fff_ffff, 0x8000_0000, .max] { guest.write(.queueNotify, value) }
        fixture.serve()
        #expect(guest.status.isLive)
    }

    @Test(arguments: Kind.allCases) func class11_afterAResetNothingIsTouched(_ kind: Kind) throws {
        let fixture = try Fixture(kind)
        let guest = fixture.guest
        try guest.start(queues: fixture.queues)
        fixture.kickAll()
        guest.write(.status, 0)
        #expect(guest.status.rawValue == 0)
        for queue in fixture.queues {
            try guest.offer(queue, [.writable(0x1000, 64)])
            try guest.memory.fill(at: guest.place(queue).usedRing, count: 256, byte: 0x5a)
        }
        fixture.kickAll()
        for queue in fixture.queues { #expect(try fixture.usedRing(queue).allSatisfy { $0 == 0x5a }) }
        // Also while it runs again with none of these.
        #expect(try guest.start(queues: []))
        fixture.kickAll()
        for queue in fixture.queues { #expect(try fixture.usedRing(queue).allSatisfy { $0 == 0x5a }) }
    }

    @Test(arguments: Kind.allCases) func class11_queuesTakenBackOrFailed_areLeftAlone(_ kind: Kind) throws {
        for fails in [false, true] {
            let fixture = try Fixture(kind)
            let guest = fixture.guest
            try guest.start(queues: fixture.queues)
            fixture.kickAll()
            if fails { guest.write(.status, 15 | 128) }
            for queue in fixture.queues {
                guest.write(.queueSelect, UInt32(queue))
                guest.write(.queueReady, 0)
                #expect(guest.read(.queueReady) == 0)
                try guest.offer(queue, [.writable(0x1000, 64)])
                try guest.memory.fill(at: guest.place(queue).usedRing, count: 256, byte: 0x5a)
                fixture.kickAll()
                #expect(try fixture.usedRing(queue).allSatisfy { $0 == 0x5a }, "queue \(queue)")
            }
            #expect(try guest.start(queues: fixture.queues))
        }
    }

    @Test(arguments: Kind.allCases) func class1_configurationSpace_ofAnySizeAnywhere_isHarmless(_ kind: Kind) throws {
        let fixture = try Fixture(kind)
        let guest = fixture.guest
        // What the driver may write: the balloon's size and its poison.
        let writable: [UInt64] = kind == .balloon ? [4, 5, 6, 7, 12, 13, 14, 15] : []
        func all() -> [UInt64] { (0..<64).filter { !writable.contains($0) }.map { guest.config($0, 1) } }
        let before = all()
        for offset in (0..<0x110 as Range<UInt64>).map({ MMIORegister.config + $0 }) + [.max, .max - 7, 1 << 63] {
            for size in [0, 1, 2, 3, 4, 5, 8, 9, -1] {
                _ = guest.transport.read(offset: offset, size: size)
                guest.transport.write(offset: offset, size: size, value: .max)
            }
        }
        #expect(all() == before)
        #expect(try guest.start(queues: fixture.queues))
    }
}
