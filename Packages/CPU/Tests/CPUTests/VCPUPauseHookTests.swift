import AddressSpace
@testable import CPU
import Hypervisor
import HypervisorTesting
import LinuxSys
import Synchronization
import Testing

/// Notes its calls, and what the vCPU's state is and how often the guest was entered at that time.
private final class Noting: VCPUReset {
    enum Hook: Equatable, Sendable { case apply, pauses, resumes }
    struct Call: Equatable, Sendable {
        let hook: Hook
        let state: VCPUState
        let runs: Int
        let thread: Int32
    }

    let vcpu = Mutex<VCPU?>(nil)
    let calls = Mutex<[Call]>([])
    /// Done once, on another thread, in the middle of the hook; the hook waits for it.
    let command = Mutex<(hook: Hook, body: @Sendable () -> Void)?>(nil)

    func apply(to virtualCPU: any VirtualCPU, index: VCPUID, topology: CPUTopology) throws(HypervisorError) { note(.apply, virtualCPU) }
    func pauses(_ virtualCPU: any VirtualCPU) { note(.pauses, virtualCPU) }
    func resumes(_ virtualCPU: any VirtualCPU) { note(.resumes, virtualCPU) }

    var hooks: [Hook] { calls.withLock { $0.map(\.hook) } }

    private func note(_ hook: Hook, _ virtualCPU: any VirtualCPU) {
        let state = vcpu.withLock { $0?.state ?? .created }
        let runs = (virtualCPU as? TestVirtualCPU)?.runs ?? -1
        calls.withLock { $0.append(Call(hook: hook, state: state, runs: runs, thread: OSThread.currentID)) }
        let body: (@Sendable () -> Void)? = command.withLock { command in
            guard command?.hook == hook else { return nil }
            defer { command = nil }
            return command?.body
        }
        if let body { try? OSThread.start(name: "commander") { body() }.join() }
    }
}

@Suite struct VCPUPauseHookTests {
    private func make(_ script: [TestVirtualCPU.Step] = []) throws -> (Scripted, Noting) {
        let scripted = try Scripted(script)
        let noting = Noting()
        noting.vcpu.withLock { $0 = scripted.vcpu }
        scripted.vcpu.prepare(noting)
        return (scripted, noting)
    }

    private func end(_ scripted: Scripted, _ noting: Noting) {
        scripted.vcpu.stop()
        scripted.vcpu.join()
        noting.vcpu.withLock { $0 = nil }
    }

    @Test func hooks_aroundASleep_comeBeforeItIsKnownAndBeforeTheGuestRuns() throws {
        let (scripted, noting) = try make()
        try scripted.vcpu.start(paused: true)
        try scripted.vcpu.waitUntilPaused()
        // Nothing of the sleep is to be seen outside before the hook is through: the state is still "running".
        #expect(noting.calls.withLock { $0.map(\.state) } == [.running, .running])
        try scripted.vcpu.resume()
        while scripted.cpu.runs == 0 { Clock.sleep(nanoseconds: 100_000) }
        let runs = scripted.cpu.runs
        try scripted.vcpu.pause()
        let calls = noting.calls.withLock { $0 }
        #expect(calls.map(\.hook) == [.apply, .pauses, .resumes, .pauses])
        #expect(calls.prefix(3).map(\.runs) == [0, 0, 0] && calls[3].runs >= runs)
        #expect(Set(calls.map(\.thread)) == [scripted.vcpu.threadID])
        end(scripted, noting)
        // It ended in its sleep.
        #expect(noting.hooks == [.apply, .pauses, .resumes, .pauses])
    }

    @Test func hooks_withoutAPause_areNotCalled() throws {
        let (scripted, noting) = try make([.init(.interrupted), .init(.again), .init(.mmioWrite(address: 0, size: 1, value: 0)), .init(.interrupted)])
        try scripted.play()
        #expect(noting.hooks == [.apply])
        end(scripted, noting)
    }

    @Test(arguments: [Noting.Hook.pauses, .resumes])
    fileprivate func stop_insideAHook_endsTheVCPU(hook: Noting.Hook) throws {
        let (scripted, noting) = try make()
        let vcpu = scripted.vcpu
        noting.command.withLock { $0 = (hook, { vcpu.stop() }) }
        try vcpu.start()
        // Fails where the stop comes first.
        try? vcpu.pause()
        try? vcpu.resume()
        vcpu.join()
        #expect(vcpu.state == .stopped)
        #expect(noting.hooks == (hook == .pauses ? [.apply, .pauses] : [.apply, .pauses, .resumes]))
        end(scripted, noting)
    }

    @Test func pause_insideTheHookOfAResume_isNotLost() throws {
        let (scripted, noting) = try make()
        let vcpu = scripted.vcpu
        noting.command.withLock { $0 = (.resumes, { try? vcpu.requestPause() }) }
        try vcpu.start(paused: true)
        try vcpu.waitUntilPaused()
        try vcpu.resume()
        while noting.command.withLock({ $0 != nil }) { Clock.sleep(nanoseconds: 100_000) }
        while vcpu.state != .paused { Clock.sleep(nanoseconds: 100_000) }
        // The guest was entered, if at all, to leave at once.
        #expect(noting.hooks == [.apply, .pauses, .resumes, .pauses])
        end(scripted, noting)
    }

    @Test func resume_insideTheHookOfAPause_letsTheVCPURunOn() throws {
        let (scripted, noting) = try make()
        let vcpu = scripted.vcpu
        noting.command.withLock { $0 = (.pauses, { try? vcpu.resume() }) }
        try vcpu.start()
        try vcpu.requestPause()
        while noting.hooks.last != .resumes { Clock.sleep(nanoseconds: 100_000) }
        #expect(vcpu.state == .running)
        try vcpu.pause()
        #expect(noting.hooks == [.apply, .pauses, .resumes, .pauses])
        end(scripted, noting)
    }

    @Test func hooks_underAStormOfCommands_alternate() throws {
        let (scripted, noting) = try make()
        let vcpu = scripted.vcpu
        try vcpu.start()
        let threads = try (0..<4).map { number in
            try OSThread.start(name: "commander") {
                for round in 0..<200 { if (number + round) % 2 == 0 { try? vcpu.requestPause() } else { try? vcpu.resume() } }
            }
        }
        for thread in threads { thread.join() }
        try vcpu.pause()
        let hooks = noting.hooks.dropFirst()
        for (index, hook) in hooks.enumerated() { #expect(hook == (index % 2 == 0 ? .pauses : .resumes)) }
        #expect(hooks.last == .pauses)
        end(scripted, noting)
    }
}
