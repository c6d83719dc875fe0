import AddressSpace
@testable import CPU
import Hypervisor
import LinuxSys
import Synchronization
import Testing

/// A machine on this host's KVM whose vCPUs start at 0x1000 in 64-bit mode. Fails without a working /dev/kvm.
final class KVMMachine: Sendable {
    let memory = AddressSpace(name: "memory", size: 1 << 40)
    let ports = AddressSpace(name: "ports", size: 1 << 16)
    let reasons = Scripted.Reasons()
    let vcpus: [VCPU]

    init(_ instructions: [UInt8], cpus: Int = 1) throws {
        let machine = try KVM.open().createVirtualMachine()
        try machine.createIRQChip()
        try memory.addListener(machine.memoryListener())
        try ports.addListener(machine.portListener())
        try memory.root.add(try Region.ram(name: "ram", size: 0x10000, memory: try HostMemory.anonymous(size: 0x10000)), at: 0)
        let ram = memory.memory
        try ram.write(at: 0x1000, bytes: instructions)
        try ram.store(UInt64(0xA003), at: 0x9000)
        try ram.store(UInt64(0xB003), at: 0xA000)
        for page in 0..<UInt64(512) { try ram.store(page << 21 | 0x83, at: 0xB000 + 8 * page) }
        var image = X86RegisterImage()
        (image.rip, image.rsp, image.rbp) = (0x1000, 0x8FF0, 0x8FF0)
        image.cs = X86Segment(selector: 0x10, descriptor: 0x00AF_9B00_0000_FFFF)
        let data = X86Segment(selector: 0x18, descriptor: 0x00CF_9300_0000_FFFF)
        (image.ds, image.es, image.fs, image.gs, image.ss) = (data, data, data, data, data)
        (image.cr0, image.cr3, image.cr4, image.efer) = (image.cr0 | 0x8000_0001, 0x9000, 0x20, 0x500)
        let topology = try CPUTopology(cpus: cpus)
        let reasons = reasons
        vcpus = try (0..<cpus).map { [memory, ports] index in
            let vcpu = VCPU(
                id: index, virtualCPU: try machine.createVCPU(id: topology.apicID(of: index)), ports: ports, memory: memory, topology: topology
            ) { _, reason in reasons.list.withLock { $0.append(reason) } }
            vcpu.prepare(image)
            return vcpu
        }
    }

    func count() throws -> UInt64 { try memory.memory.load(UInt64.self, at: 0x2000) }

    func waitForCount(above count: UInt64) throws {
        let start = Clock.monotonicNanoseconds()
        while try self.count() <= count {
            try #require(Clock.monotonicNanoseconds() - start < 10_000_000_000, "the guest does not run")
            Clock.sleep(nanoseconds: 100_000)
        }
    }
}

@Suite(.serialized) struct KVMVCPUTests {
    /// 1: inc qword [0x2000]; jmp 1b
    static let spin: [UInt8] = [0x48, 0xFF, 0x04, 0x25, 0x00, 0x20, 0x00, 0x00, 0xEB, 0xF6]

    /// KVM_RUN holds the vCPU's lock: who asks must not wait for a guest that never comes back.
    @Test func statistics_areReadWhileTheGuestRuns() throws {
        let machine = try KVMMachine(Self.spin)
        let vcpu = machine.vcpus[0]
        try vcpu.start()
        defer {
            vcpu.stop()
            vcpu.join()
        }
        try machine.waitForCount(above: 0)
        #expect(vcpu.statistics.contains { $0.name == "exits" })
        #expect(vcpu.state == .running)
        try vcpu.pause()
        #expect(vcpu.exits.interruptions >= 1 && vcpu.exits.total == vcpu.exits.interruptions)
    }

    @Test func payload_portsAndMMIO_thenTripleFault() throws {
        let machine = try KVMMachine([
            0xE5, 0xE4, 0xE7, 0xE8,  // in eax, 0xe4; out 0xe8, eax
            0xE5, 0xEC, 0xE7, 0xE8,  // in eax, 0xec, where nothing is; out 0xe8, eax
            0xBE, 0x00, 0x00, 0x10, 0x00,  // mov esi, 0x100000
            0x48, 0x8B, 0x06, 0x48, 0x89, 0x46, 0x08,  // mov rax, [rsi]; mov [rsi + 8], rax
            0x0F, 0x0B,
        ])
        let (port, device) = (Recorder(answer: 0x1234_5678), Recorder(answer: 0x1122_3344_5566_7788))
        try machine.ports.root.add(try Region.io(name: "port", size: 8, ops: port), at: 0xE4)
        try machine.memory.root.add(try Region.io(name: "device", size: 0x1000, ops: device), at: 0x10_0000)
        let vcpu = machine.vcpus[0]
        try vcpu.start()
        vcpu.join()
        #expect(machine.reasons.all == [.tripleFault])
        #expect(vcpu.state == .stopped)
        #expect(port.writes.withLock { $0 } == [[4, 4, 0x1234_5678], [4, 4, 0xFFFF_FFFF]])
        #expect(device.writes.withLock { $0 } == [[8, 8, 0x1122_3344_5566_7788]])
    }

    @Test func payload_instructionTheHostCannotEmulate_isAReasonNotATrap() throws {
        // fnsave is emulated by no KVM; where it runs natively the triple fault after it ends the run.
        let machine = try KVMMachine([0xDD, 0x34, 0x25, 0x00, 0x20, 0x00, 0x00, 0x0F, 0x0B])
        try machine.vcpus[0].start()
        machine.vcpus[0].join()
        let reason = try #require(machine.reasons.all.first)
        switch reason {
        case .tripleFault: break
        case .internalError(let suberror, let detail):
            #expect(suberror == 1)
            #expect(detail.contains("rip 0x1000"))
        default: Issue.record("\(reason)")
        }
    }

    @Test func pause_spinningGuest_standsStillUntilResume() throws {
        let machine = try KVMMachine(Self.spin)
        let vcpu = machine.vcpus[0]
        try vcpu.start(paused: true)
        try vcpu.waitUntilPaused()
        #expect(try machine.count() == 0)
        try vcpu.resume()
        for _ in 0..<20 {
            try machine.waitForCount(above: try machine.count())
            try vcpu.pause()
            let still = try machine.count()
            Clock.sleep(nanoseconds: 2_000_000)
            #expect(try machine.count() == still)
            try vcpu.resume()
            try machine.waitForCount(above: still)
        }
        vcpu.stop()
        vcpu.join()
        #expect(machine.reasons.all.isEmpty)
    }

    /// A kick that comes between the last look at the state and KVM_RUN must not be lost: the guest never exits by itself, so one loss is a hang.
    @Test func kicks_atEveryMomentOfASpinningGuest_areNeverLost() throws {
        let machine = try KVMMachine(Self.spin)
        let vcpu = machine.vcpus[0]
        try vcpu.start()
        for round in 0..<3000 {
            try vcpu.pause(milliseconds: 10_000)
            try vcpu.resume()
            if round % 3 == 0 { Clock.sleep(nanoseconds: UInt64(round % 100) * 500) }
        }
        vcpu.stop()
        vcpu.join()
        #expect(vcpu.state == .stopped)
    }

    @Test func stop_rightAfterStart_endsEachTime() throws {
        for round in 0..<40 {
            let machine = try KVMMachine(Self.spin, cpus: 2)
            for vcpu in machine.vcpus { try vcpu.start() }
            if round % 2 == 0 { Clock.sleep(nanoseconds: UInt64(round) * 20_000) }
            for vcpu in machine.vcpus { vcpu.stop() }
            for vcpu in machine.vcpus { vcpu.join() }
            #expect(machine.vcpus.allSatisfy { $0.state == .stopped })
            #expect(machine.reasons.all.isEmpty)
        }
    }

    @Test func otherVCPU_waitingForItsStart_pausesAndStopsToo() throws {
        let machine = try KVMMachine(Self.spin, cpus: 3)
        for vcpu in machine.vcpus { try vcpu.start() }
        for vcpu in machine.vcpus { try vcpu.requestPause() }
        for vcpu in machine.vcpus { try vcpu.waitUntilPaused() }
        for vcpu in machine.vcpus { try vcpu.resume() }
        try machine.waitForCount(above: try machine.count())
        let threads = try (0..<4).map { _ in
            try OSThread.start(name: "stopper") {
                for vcpu in machine.vcpus {
                    vcpu.stop()
                    vcpu.join()
                }
            }
        }
        for thread in threads { thread.join() }
        #expect(machine.vcpus.allSatisfy { $0.state == .stopped })
    }

    @Test func reset_onThisHost_leavesTheRegistersAsGiven() throws {
        let machine = try KVMMachine(Self.spin)
        let vcpu = machine.vcpus[0]
        let x86 = try #require(vcpu.virtualCPU.x86)
        var image = X86RegisterImage()
        image.rip = 0x1000
        try X86Reset(image).apply(to: vcpu.virtualCPU, index: 0, topology: vcpu.topology)
        let special = try x86.specialRegisters()
        #expect(special.cs == X86SegmentRegister(selector: 0xF000, base: 0xFFFF_0000, limit: 0xFFFF, attributes: 0x9B))
        #expect(try x86.localInterrupts() == (0x700, 0x400))
        #expect(try x86.msr(0x2FF) == 0x806)
        #expect(try x86.generalRegisters().rip == 0x1000)
        #expect(try vcpu.virtualCPU.mpState() == .runnable)
    }
}
