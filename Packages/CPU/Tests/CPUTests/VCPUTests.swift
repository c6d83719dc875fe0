import AddressSpace
@testable import CPU
import Hypervisor
import HypervisorTesting
import LinuxSys
import Synchronization
import Testing

/// A vCPU that plays a script, with an address space of its own.
struct Scripted {
    let cpu: TestVirtualCPU
    let vcpu: VCPU
    let reasons = Reasons()

    final class Reasons: Sendable {
        let list = Mutex<[StopReason]>([])
        var all: [StopReason] { list.withLock { $0 } }
    }

    init(_ script: [TestVirtualCPU.Step], ports: AddressSpace? = nil, memory: AddressSpace = AddressSpace(name: "memory", size: 1 << 40)) throws {
        cpu = TestVirtualCPU(id: 0, script: script)
        let reasons = reasons
        vcpu = VCPU(id: 0, virtualCPU: cpu, ports: ports, memory: memory, topology: try CPUTopology()) { _, reason in
            reasons.list.withLock { $0.append(reason) }
        }
        vcpu.prepare(X86RegisterImage())
    }

    /// Runs to the end of the script, then ends the vCPU.
    func play() throws {
        try vcpu.start()
        while !cpu.scriptIsOver, vcpu.state == .running { Clock.sleep(nanoseconds: 100_000) }
        vcpu.stop()
        vcpu.join()
        #expect(vcpu.state == .stopped)
    }
}

final class Recorder: RegionOps {
    let writes = Mutex<[[UInt64]]>([])
    let answer: UInt64
    init(answer: UInt64) { self.answer = answer }
    func read(offset: UInt64, size: Int) -> UInt64 { answer &+ offset }
    func write(offset: UInt64, size: Int, value: UInt64) { writes.withLock { $0.append([offset, UInt64(size), value]) } }
}

@Suite struct VCPUTests {
    @Test func exits_areCountedByKind() throws {
        let scripted = try Scripted([
            .init(.mmioWrite(address: 0, size: 4, value: 7)), .init(.mmioRead(address: 0, size: 4)), .init(.mmioRead(address: 8, size: 4)), .init(.again),
            // A string instruction is one exit.
            .init(.portOut(port: 0x3F8, size: 1, count: 3), items: [1, 2, 3]), .init(.interrupted), .init(.portIn(port: 0x3FD, size: 1, count: 2)),
            .init(.portIn(port: 0x3FD, size: 1, count: 1)), .init(.halt),
        ])
        #expect(scripted.vcpu.exits == VCPUExitCounts())
        try scripted.vcpu.start()
        scripted.vcpu.join()
        var expected = VCPUExitCounts()
        (expected.portReads, expected.portWrites, expected.mmioReads, expected.mmioWrites) = (2, 1, 2, 1)
        (expected.halts, expected.interruptions, expected.others) = (1, 1, 1)
        #expect(scripted.vcpu.exits == expected && expected.total == 9)
    }

    @Test func exits_ofEachKind_reachTheAddressSpaces() throws {
        let ports = AddressSpace(name: "ports", size: 1 << 16)
        let memory = AddressSpace(name: "memory", size: 1 << 40)
        let (device, port) = (Recorder(answer: 0x1000), Recorder(answer: 0x20))
        try memory.root.add(try Region.io(name: "device", size: 0x1000, ops: device), at: 0xF000_0000)
        try ports.root.add(try Region.io(name: "port", size: 8, ops: port), at: 0x3F8)
        let scripted = try Scripted([
            .init(.mmioWrite(address: 0xF000_0010, size: 4, value: 7)),
            .init(.mmioRead(address: 0xF000_0020, size: 4)),
            .init(.again),
            .init(.portOut(port: 0x3F8, size: 1, count: 3), items: [0x41, 0x42, 0x43]),
            .init(.interrupted),
            .init(.portIn(port: 0x3FD, size: 1, count: 2)),
        ], ports: ports, memory: memory)
        try scripted.play()
        #expect(device.writes.withLock { $0 } == [[0x10, 4, 7]])
        #expect(scripted.cpu.mmioAnswers == [0x1020])
        #expect(port.writes.withLock { $0 } == [[0, 1, 0x41], [0, 1, 0x42], [0, 1, 0x43]])
        #expect(scripted.cpu.portAnswers == [[0x25, 0x25]])
        #expect(scripted.reasons.all.isEmpty)
    }

    @Test func accesses_nobodyClaims_readAllOnesAndAreOtherwiseIgnored() throws {
        let scripted = try Scripted([
            .init(.mmioRead(address: 0xFFFF_FFFF_FFFF_FFFF, size: 8)),
            .init(.mmioWrite(address: 0xFFFF_FFFF_FFFF_FFFF, size: 8, value: 1)),
            .init(.portIn(port: 0xFFFF, size: 4, count: 1)),
            .init(.portOut(port: 0xFFFF, size: 4, count: 1)),
            .init(.portIn(port: 0x10, size: 1, count: -1)),
        ], ports: AddressSpace(name: "ports", size: 1 << 16))
        try scripted.play()
        #expect(scripted.cpu.mmioAnswers == [.max])
        #expect(scripted.cpu.portAnswers == [[0xFFFF_FFFF], []])
        let bare = try Scripted([.init(.portIn(port: 1, size: 2, count: 1)), .init(.portOut(port: 1, size: 1, count: 1))])
        try bare.play()
        #expect(bare.cpu.portAnswers == [[0xFFFF_FFFF]])
    }

    @Test(arguments: [
        (VCPUExit.shutdown, StopReason.tripleFault), (.halt, .halted), (.systemEvent(type: 2), .systemEvent(type: 2)),
        (.internalError(suberror: 1), .internalError(suberror: 1, detail: "")), (.failEntry(reason: 7), .failEntry(reason: 7, detail: "")),
        (.failed(errno: 14), .runFailed(Errno(14), detail: "")), (.failed(errno: 38), .runFailed(.notImplemented, detail: "")),
        (.unknown(reason: 99), .unknownExit(reason: 99)),
    ]) func exit_thatEndsTheRun_isToldOnceAndStopsTheVCPU(exit: VCPUExit, reason: StopReason) throws {
        let scripted = try Scripted([.init(exit), .init(exit)])
        try scripted.vcpu.start()
        scripted.vcpu.join()
        #expect(scripted.reasons.all == [reason])
        #expect(scripted.vcpu.state == .stopped)
        #expect(!reason.description.isEmpty)
        #expect(throws: CPUError.wrongState(0, .stopped)) { try scripted.vcpu.pause() }
        #expect(throws: CPUError.wrongState(0, .stopped)) { try scripted.vcpu.resume() }
    }

    @Test func start_resetRefused_isToldAndTheGuestNeverRuns() throws {
        let scripted = try Scripted([.init(.halt)])
        scripted.cpu.x86State.refusedMSRs = [0x174]
        try scripted.vcpu.start()
        scripted.vcpu.join()
        #expect(scripted.reasons.all == [.resetFailed(.msrRefused(index: 0x174))])
        #expect(scripted.cpu.runs == 0)
    }

    @Test func start_twiceOrUnprepared_isAnError() throws {
        let scripted = try Scripted([])
        try scripted.vcpu.start()
        #expect(throws: CPUError.wrongState(0, .running)) { try scripted.vcpu.start() }
        scripted.vcpu.stop()
        scripted.vcpu.join()
        let bare = VCPU(
            id: 1, virtualCPU: TestVirtualCPU(id: 1), ports: nil, memory: AddressSpace(name: "memory", size: 1 << 20),
            topology: try CPUTopology(cpus: 2)) { _, _ in }
        #expect(throws: CPUError.notPrepared(1)) { try bare.start() }
        #expect(bare.state == .created)
        #expect(bare.threadID == 0)
        bare.join()
    }

    @Test func states_throughALife_followTheCommands() throws {
        let scripted = try Scripted([])
        let vcpu = scripted.vcpu
        #expect(vcpu.state == .created)
        #expect(throws: CPUError.wrongState(0, .created)) { try vcpu.pause() }
        #expect(throws: CPUError.wrongState(0, .created)) { try vcpu.resume() }
        try vcpu.start(paused: true)
        try vcpu.waitUntilPaused()
        #expect(vcpu.state == .paused)
        #expect(scripted.cpu.runs == 0)
        #expect(scripted.cpu.x86State.calls.contains(.special))
        #expect(vcpu.threadID > 0)
        try vcpu.pause()
        try vcpu.resume()
        #expect(vcpu.state == .running)
        try vcpu.resume()
        try vcpu.pause()
        #expect(vcpu.state == .paused)
        vcpu.stop()
        vcpu.stop()
        vcpu.join()
        vcpu.join()
        #expect(vcpu.state == .stopped)
        #expect(scripted.reasons.all.isEmpty)
    }

    @Test func stop_beforeStart_endsItForGood() throws {
        let scripted = try Scripted([])
        scripted.vcpu.stop()
        scripted.vcpu.join()
        #expect(scripted.vcpu.state == .stopped)
        #expect(throws: CPUError.wrongState(0, .stopped)) { try scripted.vcpu.start() }
    }

    @Test func thread_hasTheNameThatToolsLookFor() throws {
        let scripted = try Scripted([])
        try scripted.vcpu.start(paused: true)
        try scripted.vcpu.waitUntilPaused()
        var name = Array(repeating: UInt8(0), count: 32)
        let count = try SysFile.open("/proc/self/task/\(scripted.vcpu.threadID)/comm", .readOnly).read(into: &name)
        #expect(String(decoding: name.prefix(count), as: UTF8.self) == "CPU 0/KVM\n")
        scripted.vcpu.stop()
        scripted.vcpu.join()
    }

    /// A device whose register holds the vCPU's thread until it is let go.
    private final class Slow: RegionOps {
        let entered = WaitWord()
        let release = WaitWord()
        func read(offset: UInt64, size: Int) -> UInt64 { 0 }
        func write(offset: UInt64, size: Int, value: UInt64) {
            entered.store(1)
            entered.wakeAll()
            while release.value == 0 { release.wait(while: 0) }
        }
    }

    @Test func pause_threadInsideASlowDevice_timesOutAndStaysInForce() throws {
        let memory = AddressSpace(name: "memory", size: 1 << 40)
        let slow = Slow()
        try memory.root.add(try Region.io(name: "slow", size: 8, ops: slow), at: 0)
        let scripted = try Scripted([.init(.mmioWrite(address: 0, size: 4, value: 0))], memory: memory)
        try scripted.vcpu.start()
        while slow.entered.value == 0 { slow.entered.wait(while: 0) }
        let error = #expect(throws: CPUError.self) { try scripted.vcpu.pause(milliseconds: 20) }
        #expect(error == .pauseTimedOut(0))
        slow.release.store(1)
        slow.release.wakeAll()
        try scripted.vcpu.waitUntilPaused()
        #expect(scripted.vcpu.state == .paused)
        scripted.vcpu.stop()
        scripted.vcpu.join()
    }

    /// A device that commands the vCPU that writes to it.
    private final class Own: RegionOps {
        let vcpu = Mutex<VCPU?>(nil)
        let error = Mutex<CPUError?>(nil)
        func read(offset: UInt64, size: Int) -> UInt64 { 0 }
        func write(offset: UInt64, size: Int, value: UInt64) {
            guard let vcpu = vcpu.withLock({ $0 }) else { return }
            do throws(CPUError) { try vcpu.pause() } catch { self.error.withLock { $0 = error } }
            vcpu.join()
            vcpu.stop()
        }
    }

    @Test func commands_onTheVCPUsOwnThread_neverWaitForItself() throws {
        let memory = AddressSpace(name: "memory", size: 1 << 40)
        let own = Own()
        try memory.root.add(try Region.io(name: "own", size: 8, ops: own), at: 0)
        let scripted = try Scripted([.init(.mmioWrite(address: 0, size: 1, value: 0))], memory: memory)
        own.vcpu.withLock { $0 = scripted.vcpu }
        try scripted.vcpu.start()
        scripted.vcpu.join()
        #expect(own.error.withLock { $0 } == .onOwnThread(0))
        #expect(scripted.vcpu.state == .stopped)
        #expect(scripted.reasons.all.isEmpty)
        own.vcpu.withLock { $0 = nil }
    }

    @Test func commands_fromManyThreads_endStoppedWithoutHanging() throws {
        for _ in 0..<50 {
            let scripted = try Scripted([])
            let vcpu = scripted.vcpu
            try vcpu.start()
            let threads = try (0..<6).map { number in
                try OSThread.start(name: "commander") {
                    for round in 0..<40 {
                        switch (number + round) % 3 {
                        case 0: try? vcpu.pause()
                        case 1: try? vcpu.resume()
                        default: _ = vcpu.state
                        }
                    }
                    vcpu.stop()
                    vcpu.join()
                }
            }
            for thread in threads { thread.join() }
            #expect(vcpu.state == .stopped)
        }
    }
}
