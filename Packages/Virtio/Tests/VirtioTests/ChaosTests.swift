import AddressSpace
import BlockBackend
import Devices
import Glibc
import HypervisorTesting
import LinuxSys
import Synchronization
import Testing
@testable import Virtio

/// Everything at once: a guest that does what it likes on two vCPUs, loops of their own for device and queues, and a host that plugs, unplugs, pauses and asks.
/// Nothing may trap, hang, or go on when the device has been reset.
@Suite(.serialized) struct ChaosTests {
    private static let duration: UInt64 = 400_000_000
    private static let ramSize: UInt64 = 1 << 20
    private static let loops = 3

    /// xorshift64*.
    private struct Random {
        var state: UInt64
        mutating func next() -> UInt64 {
            state ^= state >> 12
            state ^= state << 25
            state ^= state >> 27
            return state &* 0x2545_f491_4f6c_dd1d
        }
        mutating func below(_ limit: UInt64) -> UInt64 { next() % limit }
    }

    private final class Machine: Sendable {
        let space: AddressSpace
        let transport: VirtioMMIODevice
        let loops: [EventLoop]
        let isOver = Atomic<Bool>(false)
        private let threads: [OSThread]

        init(_ make: ([EventLoop]) throws -> sending any VirtioDevice) throws {
            let loops = try (0..<ChaosTests.loops).map { _ in try EventLoop() }
            self.loops = loops
            space = AddressSpace(name: "memory", size: 1 << 40)
            try space.root.add(
                try Region.ram(name: "ram", size: ChaosTests.ramSize, memory: try HostMemory.anonymous(size: ChaosTests.ramSize, options: .shared)), at: 0)
            let bus = SysBus(memory: space.root, ports: AddressSpace(name: "ports", size: 1 << 16).root, machine: TestVirtualMachine())
            transport = try VirtioMMIODevice.attach(try make(loops), name: "device", to: bus, memory: space.memory, loop: loops[0])
            threads = try loops.map { loop in try OSThread.start(name: "loop") { loop.run() } }
        }

        /// Two vCPUs and the host until the time is over, then the end of the machine.
        /// `breaks`: the guest is seen to ruin a ring now and then. Where the kernel serves the queues nobody here looks at them.
        func run(seed: UInt64, breaks: Bool = true, _ host: @escaping @Sendable (inout Random) throws -> Void) throws {
            let guests = try (1...2).map { number in
                try OSThread.start(name: "vcpu") { [self] in
                    var random = Random(state: seed &* 31 &+ UInt64(number))
                    while !isOver.load(ordering: .relaxed) { act(&random) }
                }
            }
            var random = Random(state: seed)
            let end = Clock.monotonicNanoseconds() + ChaosTests.duration
            while Clock.monotonicNanoseconds() < end {
                try host(&random)
                if random.below(8) == 0 { Clock.sleep(nanoseconds: random.below(300_000)) }
            }
            isOver.store(true, ordering: .relaxed)
            for guest in guests { guest.join() }
            #expect(!breaks || transport.statistics.resetsRequested > 0)
            transport.detach()
            for loop in loops { loop.stop() }
            for thread in threads { thread.join() }
            // Nothing touches guest memory any more.
            try space.memory.fill(at: 0, count: ChaosTests.ramSize, byte: 0x5a)
            Clock.sleep(nanoseconds: 20_000_000)
            let bytes = try space.memory.bytes(at: 0, count: ChaosTests.ramSize, limit: ChaosTests.ramSize)
            #expect(bytes.allSatisfy { $0 == 0x5a })
        }

        // MARK: The guest

        private func write(_ register: MMIORegister, _ value: UInt64) { transport.write(offset: register.rawValue, size: 4, value: value) }

        private func place(_ queue: UInt64) -> UInt64 { 0x4000 * (queue + 1) }

        private func start(_ random: inout Random) {
            let count = UInt64(transport.queueSizes.count)
            for status in [0, 1, 3] as [UInt64] { write(.status, status) }
            for half in 0...1 as ClosedRange<UInt64> {
                write(.deviceFeaturesSelect, half)
                write(.driverFeaturesSelect, half)
                write(.driverFeatures, transport.read(offset: MMIORegister.deviceFeatures.rawValue, size: 4))
            }
            write(.status, 11)
            for queue in 0..<count where random.below(16) != 0 {
                try? space.memory.fill(at: place(queue), count: 0x4000)
                write(.queueSelect, queue)
                write(.queueSize, 16)
                write(.queueDescriptorLow, place(queue))
                write(.queueDriverLow, place(queue) + 0x1000)
                write(.queueDeviceLow, place(queue) + 0x2000)
                write(.queueReady, 1)
            }
            write(.status, 15)
        }

        private func offer(_ random: inout Random, _ queue: UInt64) {
            let memory = space.memory
            let base = place(queue)
            let head = random.below(15)
            for index in head...head + 1 {
                let isLast = index == head + 1
                let isWritable = random.below(2) == 0 || (isLast && random.below(4) != 0)
                try? memory.store(0x8_0000 + random.below(0x4_0000), at: base + 16 * index)
                try? memory.store(UInt32(random.below(3000)), at: base + 16 * index + 8)
                try? memory.store(UInt16(isWritable ? 2 : 0) | (isLast ? 0 : 1), at: base + 16 * index + 12)
                try? memory.store(UInt16(truncatingIfNeeded: index + 1), at: base + 16 * index + 14)
            }
            let index = (try? memory.loadAcquire16(at: base + 0x1002)) ?? 0
            try? memory.store(UInt16(head), at: base + 0x1004 + 2 * UInt64(index % 16))
            try? memory.storeRelease16(index &+ 1, at: base + 0x1002)
            write(.queueNotify, queue)
        }

        private func act(_ random: inout Random) {
            let queue = random.below(UInt64(transport.queueSizes.count))
            switch random.below(200) {
            case 0: start(&random)
            case 1: write(.status, 0)
            case 2: write(.status, 0x8f)
            case 3:
                write(.queueSelect, queue)
                write(.queueReady, 0)
            case 4: _ = transport.read(offset: MMIORegister.config + random.below(64), size: 4)
            case 5: write(.interruptAcknowledge, 3)
            case 6: transport.write(offset: random.below(0x120), size: 4, value: random.next())
            // Rubbish in a ring, now and then.
            case 7: try? space.memory.store(random.next(), at: place(queue) + random.below(0x3000) & ~7)
            case 8: if !transport.status.isLive { start(&random) }
            default: offer(&random, queue)
            }
        }
    }

    @Test(.timeLimit(.minutes(1)), arguments: 1...2 as ClosedRange<UInt64>) func disk(seed: UInt64) throws {
        let path = "/tmp/chaos-\(getpid())-\(seed)"
        let file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        defer {
            close(file)
            unlink(path)
        }
        #expect(ftruncate(file, 1 << 20) == 0)
        let engine: RawImageOptions.Engine = seed == 2 ? .auto : .threads
        let image: @Sendable () -> RawImage? = { try? RawImage.open(RawImageOptions(path: path, readOnly: true, direct: false, engine: engine)) }
        let machine = try Machine { _ in VirtioBlock(storage: image()) }
        try machine.run(seed: seed) { random in
            switch random.below(6) {
            case 0:
                let storage = image()
                machine.transport.update(VirtioBlock.self) { $0.replaceStorage(storage) }
                machine.transport.configurationChanged()
            case 1: machine.transport.update(VirtioBlock.self) { $0.replaceStorage(nil) }
            case 2: machine.transport.drain()
            default: _ = machine.transport.statistics
            }
        }
    }

    @Test(.timeLimit(.minutes(1)), arguments: 1...2 as ClosedRange<UInt64>) func network(seed: UInt64) throws {
        let wires = [try Wire(), try Wire()]
        // The wires' own end has one owner: a back end at a time, which is the same for all.
        let usesVhost = seed % 2 == 0
        let vhost = try wires.map { _ in VhostNet(try VhostKernel(port: FakeVhost(features: FakeVhost.allFeatures | NetFeature.mergeableBuffers))) }
        let plain = try #require(NetGuest.backend(wires))
        let other = try #require(NetGuest.backend(wires, vhost: vhost))
        let machine = try Machine { loops in
            VirtioNet(
                options: NetOptions(mac: Frame.own, queuePairs: 2, offersMultiqueue: true), backend: plain, loops: NetLoops(rx: loops[1], tx: loops[2]))
        }
        try machine.run(seed: seed) { random in
            let wire = wires[Int(random.below(2))]
            switch random.below(12) {
            case 0: machine.transport.update(VirtioNet.self) { $0.replaceBackend(plain) }
            case 1: machine.transport.update(VirtioNet.self) { $0.replaceBackend(usesVhost ? other : plain) }
            case 2: machine.transport.update(VirtioNet.self) { $0.replaceBackend(nil) }
            case 3:
                machine.transport.update(VirtioNet.self) { $0.setLink(up: random.below(4) != 0) }
                machine.transport.configurationChanged()
            case 4: machine.transport.drain()
            case 5: for _ in 0..<100 where wire.receive() == nil { break }
            default: for size in 0..<20 { wire.send(Frame.make(60 + size * 70)) }
            }
        }
    }

    @Test(.timeLimit(.minutes(1)), arguments: 1...2 as ClosedRange<UInt64>) func console(seed: UInt64) throws {
        let chars = [FakeChar(), FakeChar(isConnected: false)]
        var host: ConsoleHost?
        let machine = try Machine { _ in
            let ports = [ConsolePort(kind: .console, backend: chars[0]), ConsolePort(kind: .generic, name: "agent", backend: chars[1])]
            let device = try VirtioConsole(ports: ports)
            host = device.host
            return device
        }
        try host?.start(on: machine.loops[0])
        try machine.run(seed: seed) { random in
            let char = chars[Int(random.below(2))]
            switch random.below(5) {
            case 0: char.connect(random.below(2) == 0)
            case 1: char.allow(Int(random.below(9000)))
            case 2: machine.transport.drain()
            default: char.type([UInt8](repeating: 0x41, count: Int(random.below(3000))))
            }
        }
    }

    @Test(.timeLimit(.minutes(1)), arguments: 1...2 as ClosedRange<UInt64>) func vsockOverUnixSockets(seed: UInt64) throws {
        let folder = try VsockGuest.makeFolder()
        let path = folder + "/s"
        defer {
            unlink(path)
            rmdir(folder)
        }
        let machine = try Machine { _ in try VirtioVsock(guestCID: 3, path: path, maximumConnections: 32, patience: 20_000_000) }
        try machine.run(seed: seed) { random in
            switch random.below(8) {
            case 0: machine.transport.drain()
            case 1, 2:
                machine.transport.update(VirtioVsock.self) { $0.setPaused(true) }
                if random.below(2) == 0 { Clock.sleep(nanoseconds: random.below(2_000_000)) }
                machine.transport.update(VirtioVsock.self) { $0.setPaused(false) }
            case 3:
                // What the guest's chains happen to lie on: now and then, the start of a packet.
                var bytes = [UInt8](repeating: 0, count: VsockHeader.size)
                VsockHeader(sourceCID: 3, destinationCID: 2, sourcePort: 9, destinationPort: 1 << 30, operation: UInt16(random.below(9)), bufferSize: 4096)
                    .store(into: &bytes)
                for place in 0..<200 as Range<UInt64> { try machine.space.memory.write(at: 0x8_0000 + place * 1000 + random.below(900), bytes: bytes) }
            default:
                guard let socket = try? StreamSocket.connect(path: path) else { return }
                _ = try? socket.send(Array("CONNECT 9\nand more".utf8.prefix(Int(random.below(20)) + 1)))
                if random.below(2) == 0 { Clock.sleep(nanoseconds: random.below(300_000)) }
            }
        }
    }

    @Test(.timeLimit(.minutes(1))) func entropyAndVsock() throws {
        let rng = try Machine { _ in try VirtioRng(sourcePath: "/dev/urandom", rate: .init(maximumBytes: 100_000, periodMilliseconds: 10)) }
        try rng.run(seed: 5) { random in if random.below(4) == 0 { rng.transport.drain() } }
        let vsock = try Machine { _ in try VhostVsock(guestCID: 3, kernel: try VhostKernel(port: FakeVhost())) }
        try vsock.run(seed: 6, breaks: false) { random in if random.below(4) == 0 { vsock.transport.drain() } }
    }

    @Test(.timeLimit(.minutes(1))) func balloon() throws {
        var made: BalloonHost?
        let machine = try Machine { _ in
            let device = try VirtioBalloon(memorySize: Self.ramSize, options: .init(reportsFreePages: true, auto: .init(bufferPercent: 20, interval: 5)))
            made = device.host
            return device
        }
        let host = try #require(made)
        try machine.run(seed: 7) { random in
            switch random.below(6) {
            case 0: host.setSize(random.below(2 << 20))
            case 1: machine.transport.configurationChanged()
            case 2: host.pollingInterval = UInt32(random.below(3))
            case 3: machine.transport.drain()
            // What is due is asked for at once.
            case 4: host.timer.arm(nanoseconds: 1)
            default: _ = (host.actualSize, host.statistics)
            }
        }
    }

    @Test(.timeLimit(.minutes(1))) func memory() throws {
        let memory = FakeMemory(size: 1 << 30, isPreallocated: true)
        var options = VirtioMem.Options(id: "memory", base: 0x8_0000 << 21)
        options.blockSize = 2 << 20
        let machine = try Machine { _ in try VirtioMem(options, memory: memory) }
        try machine.run(seed: 7) { random in
            // What the guest's rubbish of a request may be: half of it means something.
            let place = (0x8_0000 + random.below(0x4_0000)) & ~7
            try? machine.space.memory.store(UInt16(random.below(5)), at: place)
            try? machine.space.memory.store((UInt64(0x8_0000) << 21) + (random.below(520) << 21), at: place + 8)
            try? machine.space.memory.store(UInt16(random.below(random.below(4) == 0 ? 65536 : 8)), at: place + 16)
            switch random.below(4) {
            case 0:
                try machine.transport.update(VirtioMem.self) { device throws(MemoryDeviceError) in try device.request(random.below(513) << 21) }
                machine.transport.configurationChanged()
            case 1: machine.transport.drain()
            default: break
            }
        }
        // What is plugged is shown, and nothing else is resident.
        let plugged = machine.transport.inspect(VirtioMem.self) { $0.pluggedSize } ?? .max
        #expect(plugged <= memory.shown.reduce(0) { $0 + $1.value - $1.key })
        #expect(memory.resident.allSatisfy { page in memory.shown.contains { $0.key <= page << 21 && page << 21 < $0.value } })
    }

    @Test(.timeLimit(.minutes(1))) func persistentMemory() throws {
        let path = "/tmp/chaos-pmem-\(getpid())"
        let file = try SysFile.open(path, [.readWrite, .create])
        defer { unlink(path) }
        #expect(ftruncate(file.raw, 2 << 20) == 0)
        let memory = try HostMemory.mapping(file, size: 2 << 20)
        let machine = try Machine { _ in VirtioPmem(base: 1 << 33, size: 2 << 20, target: try FileFlush(memory)) }
        try machine.run(seed: 8) { random in if random.below(4) == 0 { machine.transport.drain() } }
    }
}
