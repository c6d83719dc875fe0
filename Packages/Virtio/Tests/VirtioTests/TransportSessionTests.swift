import AddressSpace
import Devices
import Foundation
import HypervisorTesting
import LinuxSys
import Synchronization
import Testing
@testable import Virtio

/// What a device can do during a session: other loops, other threads, other interrupters, other descriptors.
@Suite struct TransportSessionTests {
    /// A device that records what it is called for.
    private final class Recorder: VirtioDevice {
        let deviceType: UInt32 = 4
        var features = VirtioFeature.version1
        let queueSizes: [UInt16] = [8, 8]
        var eventSources: [Int32] = []
        let droppedRequests: UInt64 = 0
        var session: VirtioSession?
        var notified: [Int] = []
        var ready: [Int32] = []
        var stopped: [Int] = []
        var takesElsewhere: [Int] = []
        /// Calls of `prepareReset` that still say no.
        var preparations = 0

        func readConfig(offset: Int, size: Int) -> UInt64 { 0 }
        func writeConfig(offset: Int, size: Int, value: UInt64) {}
        func activate(_ session: VirtioSession) {
            self.session = session
            for index in takesElsewhere { session.serveElsewhere(index) }
        }
        func queueNotified(_ index: Int) -> ServiceResult {
            notified.append(index)
            return .idle
        }
        func eventSourceReady(_ descriptor: Int32) -> ServiceResult {
            ready.append(descriptor)
            return .idle
        }
        func drain() -> ServiceResult { .idle }
        func stopQueue(_ index: Int) { stopped.append(index) }
        func prepareReset() -> Bool {
            preparations -= 1
            return preparations < 0
        }
        func reset() { session = nil }
    }

    /// A recorder on a bus, and a driver for it. The loop runs only when told to.
    private struct Bench {
        let memory = AddressSpace(name: "memory", size: 1 << 40)
        let loop: EventLoop
        let line: TestInterruptLine
        let transport: VirtioMMIODevice

        init(hasEvents: Bool = false) throws {
            let machine = TestVirtualMachine(hasEvents: hasEvents)
            let ports = AddressSpace(name: "ports", size: 1 << 16)
            try memory.root.add(try Region.ram(name: "ram", size: 1 << 20, memory: try HostMemory.anonymous(size: 1 << 20)), at: 0)
            loop = try EventLoop()
            let bus = SysBus(memory: memory.root, ports: ports.root, machine: machine)
            transport = try VirtioMMIODevice.attach(Recorder(), name: "recorder", to: bus, memory: memory.memory, loop: loop)
            line = try #require(machine.lines.first)
        }

        func write(_ register: MMIORegister, _ value: UInt64) { transport.write(offset: register.rawValue, size: 4, value: value) }
        func read(_ register: MMIORegister) -> UInt64 { transport.read(offset: register.rawValue, size: 4) }
        func change<R>(_ body: (Recorder) -> sending R) throws -> R { try #require(transport.update(Recorder.self) { device in body(device) }) }

        func negotiate(_ features: UInt64 = VirtioFeature.version1) {
            for value in [0, 1, 3] as [UInt64] { write(.status, value) }
            write(.driverFeaturesSelect, 0)
            write(.driverFeatures, features & 0xffff_ffff)
            write(.driverFeaturesSelect, 1)
            write(.driverFeatures, features >> 32)
            write(.status, 11)
        }

        func start() {
            negotiate()
            for index in 0..<2 as Range<UInt64> {
                write(.queueSelect, index)
                write(.queueSize, 8)
                write(.queueDescriptorLow, 0x1000 + index * 0x4000)
                write(.queueDriverLow, 0x2000 + index * 0x4000)
                write(.queueDeviceLow, 0x3000 + index * 0x4000)
                write(.queueReady, 1)
            }
            write(.status, 15)
        }

        func turn() { for _ in 0..<4 { loop.runOnce(timeoutMilliseconds: 0) } }
        func notified() throws -> [Int] {
            turn()
            return try change { device in
                defer { device.notified = [] }
                return device.notified
            }
        }
    }

    @Test func activation_givesTheDeviceWhatTheDriverSetUp() throws {
        let bench = try Bench()
        bench.start()
        let configurations = try bench.change { $0.session?.configurations.compactMap { $0 } ?? [] }
        #expect(configurations.map(\.descriptorTable) == [0x1000, 0x5000])
        #expect(configurations.allSatisfy { $0.size == 8 })
        #expect(try bench.change { $0.session?.features } == VirtioFeature.version1)
        #expect(try bench.change { $0.session?.queues.count { $0 != nil } } == 2)
        bench.transport.detach()
    }

    @Test func queueServedElsewhere_isNotWatchedUntilReset() throws {
        let bench = try Bench()
        _ = try bench.change { $0.takesElsewhere = [1] }
        bench.start()
        #expect(Set(try bench.notified()) == [0])
        // Left for whoever watches it: the notification after DRIVER_OK, the changes above, and this one.
        bench.write(.queueNotify, 1)
        bench.write(.queueNotify, 0)
        bench.turn()
        #expect(bench.transport.notifications[1].drain() > 0)
        // A call that was on its way leaves the notification where it is, and `drain` leaves the queue to its owner.
        bench.write(.queueNotify, 1)
        bench.transport.serveQueue(1)
        #expect(bench.transport.notifications[1].drain() == 1)
        bench.transport.drain()
        #expect(Set(try bench.notified()) == [0])
        // The driver takes both queues back: each is stopped by the device, and the one served elsewhere is not touched from here.
        for index in 0..<2 as Range<UInt64> {
            bench.write(.queueSelect, index)
            bench.write(.queueReady, 0)
        }
        #expect(try bench.change { $0.stopped } == [0, 1])
        #expect(try bench.change { $0.session?.queues.map { $0?.isEnabled } } == [false, true])
        // The next session is the transport's again, and the old one's control does nothing to it.
        let control = try #require(try bench.change { $0.session?.control })
        _ = try bench.change { $0.takesElsewhere = [] }
        bench.start()
        control.serveElsewhere(0)
        control.requestReset(.chainTooLong)
        _ = try bench.notified()
        bench.write(.queueNotify, 1)
        bench.write(.queueNotify, 0)
        #expect(Set(try bench.notified()) == [0, 1])
        #expect(bench.transport.status.isLive)
        control.serveElsewhere(-1)
        control.serveElsewhere(2)
        bench.transport.detach()
    }

    @Test func resetAskedForFromAnotherThread_happensOnTheLoop() throws {
        let bench = try Bench()
        bench.start()
        bench.turn()
        let control = try #require(try bench.change { $0.session?.control })
        let thread = try OSThread.start(name: "elsewhere") {
            for _ in 0..<1000 { control.requestReset(.headOutOfRange(9)) }
        }
        thread.join()
        #expect(bench.transport.status.isLive)
        bench.turn()
        #expect(bench.transport.status.contains(.needsReset))
        #expect(bench.transport.statistics.resetsRequested == 1)
        #expect(bench.read(.interruptStatus) == UInt64(VirtioInterrupt.configurationChange))
        bench.start()
        bench.turn()
        #expect(bench.transport.status.isLive)
        bench.transport.detach()
        control.requestReset(.chainTooLong)
    }

    @Test func interruptsOfABackEnd_areReportedAlways_untilReset() throws {
        let bench = try Bench(hasEvents: true)
        bench.start()
        let interrupt = bench.transport.interrupt
        let descriptor = try #require(interrupt.delegateUsedBuffers())
        #expect(descriptor == bench.line.eventDescriptor)
        #expect(bench.read(.interruptStatus) == 1)
        bench.write(.interruptAcknowledge, 3)
        #expect(bench.read(.interruptStatus) == 1)
        bench.transport.configurationChanged()
        #expect(bench.read(.interruptStatus) == 3)
        bench.write(.interruptAcknowledge, 3)
        #expect(bench.read(.interruptStatus) == 1)
        bench.write(.status, 0)
        #expect(bench.read(.interruptStatus) == 0)
        bench.transport.detach()
        let without = try Bench()
        #expect(without.transport.interrupt.delegateUsedBuffers() == nil)
        #expect(without.read(.interruptStatus) == 0)
        without.transport.detach()
    }

    @Test func eventSources_areWatchedAnewAfterAnUpdate() throws {
        let bench = try Bench()
        let first = try EventFD(), second = try EventFD()
        let (a, b) = (first.raw, second.raw)
        _ = try bench.change { $0.eventSources = [a] }
        first.signal()
        second.signal()
        bench.turn()
        #expect(try bench.change { Set($0.ready) } == [a])
        _ = try bench.change { device in
            device.eventSources = [b]
            device.ready = []
        }
        bench.turn()
        #expect(try bench.change { Set($0.ready) } == [b])
        _ = try bench.change { device in
            device.eventSources = []
            device.ready = []
        }
        bench.turn()
        #expect(try bench.change { $0.ready } == [])
        // Nothing of it is left on the loop.
        try bench.loop.add(a, .readable) { _ in }
        try bench.loop.add(b, .readable) { _ in }
        bench.loop.remove(a)
        bench.loop.remove(b)
        bench.transport.detach()
    }

    @Test func eventSource_thatCannotBeWatched_makesTheDeviceNeedAReset() throws {
        let bench = try Bench()
        bench.start()
        _ = try bench.change { $0.eventSources = [9999] }
        #expect(bench.transport.status.contains(.needsReset))
        bench.start()
        #expect(bench.transport.status.contains(.needsReset))
        _ = try bench.change { $0.eventSources = [] }
        bench.start()
        #expect(bench.transport.status.isLive)
        bench.transport.detach()
    }

    @Test func update_ofAnotherKindOfDevice_doesNothing() throws {
        let bench = try Bench()
        let before = bench.read(.configGeneration)
        #expect(bench.transport.update(VirtioBlock.self) { _ in 1 } == nil)
        #expect(bench.read(.configGeneration) == before)
        _ = try bench.change { _ in }
        #expect(bench.read(.configGeneration) == before + 1)
        bench.transport.detach()
    }

    @Test func featuresThatChange_areOfferedToTheNextDriver_notToOneThatNegotiates() throws {
        let bench = try Bench()
        func offered() -> UInt64 {
            bench.write(.deviceFeaturesSelect, 0)
            return bench.read(.deviceFeatures)
        }
        bench.write(.status, 1)
        _ = try bench.change { $0.features |= 1 << 5 }
        #expect(offered() == 1 << 5)
        // DRIVER: from here on the driver reads features, and must not get halves of two sets.
        bench.write(.status, 3)
        _ = try bench.change { $0.features = VirtioFeature.version1 | 1 << 6 }
        #expect(offered() == 1 << 5)
        bench.write(.driverFeatures, 1 << 5)
        bench.write(.driverFeaturesSelect, 1)
        bench.write(.driverFeatures, 1)
        bench.write(.status, 11)
        #expect(bench.read(.status) == 11)
        bench.write(.status, 0)
        #expect(offered() == 1 << 6)
        bench.negotiate(VirtioFeature.version1 | 1 << 5)
        #expect(bench.read(.status) == 3)
        bench.transport.detach()
    }

    /// A slow disk under a guest's reset: the vCPU waits, the event loop and other threads do not.
    @Test func resetThatWaits_leavesTheDevicesLockToOthers() throws {
        let bench = try Bench()
        bench.start()
        _ = try bench.change { $0.preparations = .max }
        let transport = bench.transport
        let vcpu = try OSThread.start(name: "vcpu") { transport.write(offset: MMIORegister.status.rawValue, size: 4, value: 0) }
        let limit = Date(timeIntervalSinceNow: 20)
        while transport.state.withLock({ $0.settling }) == 0, Date() < limit { usleep(100) }
        // Not complete, so the status is not 0 yet (virtio 1.2, section 2.4); queues are not served, and registers do not change.
        #expect(bench.read(.status) == 15)
        _ = try bench.change { $0.notified = [] }
        #expect(try bench.notified() == [])
        bench.write(.queueSelect, 1)
        #expect(transport.state.withLock { $0.queueSelect } == 1)
        bench.write(.status, 0x8f)
        #expect(bench.read(.status) == 15)
        _ = try bench.change { $0.preparations = 0 }
        vcpu.join()
        #expect(bench.read(.status) == 0)
        bench.transport.detach()
    }
}
