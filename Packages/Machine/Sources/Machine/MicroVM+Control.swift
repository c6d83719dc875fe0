internal import CPU
internal import LinuxSys
public import MachineManager
internal import Virtio

/// What QMP asks for. The event loop's thread.
extension MicroVM: MachineControl {
    public var architecture: GuestArchitecture { type(of: platform).architecture }

    public func gicVersion() -> VmConfig.GICVersion? { platform.gicVersion }

    public func status() -> VMState { state.state }

    /// All vCPUs are asked before any is waited for, so that pausing takes as long as the slowest. Then requests in flight are finished: a paused machine's
    /// image does not change.
    public func pause() throws(MachineControlError) {
        do throws(VMTransitionError) {
            guard try state.canChange(to: .paused) else { return }
        } catch { throw .wrongState(error) }
        do throws(CPUError) {
            for vcpu in vcpus { try vcpu.requestPause() }
            for vcpu in vcpus { try vcpu.waitUntilPaused() }
        } catch {
            // Half a machine must not run: those that did pause go on.
            for vcpu in vcpus { try? vcpu.resume() }
            throw .failed(error.description)
        }
        for transport in transports { transport.drain() }
        setSocketsPaused(true)
        change(to: .paused)
        emit(.stop)
    }

    public func resume() throws(MachineControlError) {
        do throws(VMTransitionError) {
            guard try state.canChange(to: .running) else { return }
        } catch { throw .wrongState(error) }
        do throws(CPUError) {
            for vcpu in vcpus { try vcpu.resume() }
        } catch { throw .failed(error.description) }
        setSocketsPaused(false)
        change(to: .running)
        emit(.resume)
    }

    /// The guest decides what the button means; without a handler nothing happens.
    public func requestPowerdown() throws(MachineControlError) {
        guard state.state == .running || state.state == .paused else {
            throw .wrongState(VMTransitionError(from: state.state, to: .shutdown))
        }
        platform.pressPowerButton()
        emit(.powerdown)
    }

    /// A microVM has no firmware that could start it again: a reset is the end, as in StratoVirt.
    public func requestReset() throws(MachineControlError) {
        guard state.state != .shutdown else { throw .wrongState(VMTransitionError(from: .shutdown, to: .running)) }
        change(to: .shutdown)
        emit(.reset(guest: false))
        end(.resetCommand)
    }

    /// Whatever command follows finds the machine shut down.
    public func requestQuit() {
        change(to: .shutdown)
        end(.quitCommand)
    }

    public func cpus() -> [CPUInfo] {
        vcpus.map { CPUInfo(id: UInt32($0.id), threadID: $0.threadID, place: place(of: $0.id)) }
    }

    public func cpuSlots() -> [CPUSlot] {
        (0..<(topology?.maxcpus ?? 0)).map { CPUSlot(place: place(of: $0), cpu: $0 < vcpus.count ? UInt32($0) : nil) }
    }

    private func place(of index: Int) -> CPUPlace {
        guard let place = topology?.place(of: index) else { return CPUPlace(socket: 0, die: 0, core: 0, thread: 0) }
        return CPUPlace(
            socket: UInt32(place.socket), die: UInt32(place.die), core: UInt32(place.core), thread: UInt32(place.thread),
            node: config.node(ofCPU: UInt32(index)))
    }

    /// After `canChange` said yes, on the same thread.
    private func change(to new: VMState) { _ = try? state.change(to: new) }
}
