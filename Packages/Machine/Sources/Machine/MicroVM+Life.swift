internal import CPU
internal import Devices
internal import Hypervisor
internal import LinuxSys
public import MachineManager
internal import Virtio

extension MicroVM {
    /// Step 4 of a start: the serial port gets its peer, then each vCPU thread puts its registers into the hypervisor and enters the guest, or waits for
    /// `resume` when the configuration says so.
    public func start() throws(MachineError) {
        guard isRealized, state.state == .created else { throw .wrongState }
        if let serial = config.serial { try platform.startSerial(chardevTable.make(serial.id)) }
        if let consoleHost { try lift(MachineError.chardev) { () throws(CharBackendError) in try consoleHost.start(on: loop) } }
        let paused = config.startsPaused
        if paused { setSocketsPaused(true) }
        do throws(VMTransitionError) { try state.change(to: paused ? .paused : .running) } catch { throw .wrongState }
        // The first vCPU last: it may start the others as soon as it runs.
        for vcpu in vcpus.reversed() {
            try lift(MachineError.vcpu) { () throws(CPUError) in try vcpu.start(paused: paused) }
            Log.info("vcpu\(vcpu.id) has started\(paused ? ", paused" : "")")
        }
        for file in newFiles { file.keep() }
        newFiles = []
        Log.info("the machine has started with \(vcpus.count) vCPUs")
    }

    /// Ends the machine: the loop's `run` returns soon, and `shutDown` does the rest. The first reason counts. Any thread but those of vCPUs.
    public func end(_ reason: ShutdownReason) {
        guard noteEnd(reason) else { return }
        loop.post { [self] in
            _ = try? state.change(to: .shutdown)
            emit(.shutdown(reason))
            loop.stop()
        }
    }

    /// The guest asked for power off or reset. On a vCPU's thread, inside a device: no vCPU executes anything after its current instruction.
    func guestRequestedEnd(_ reason: ShutdownReason) {
        for vcpu in vcpus { vcpu.stop() }
        end(reason)
    }

    /// A vCPU cannot go on. On its thread.
    func vcpuStopped(_ id: VCPUID, _ reason: StopReason) {
        switch reason {
        // A triple fault is the last way of a guest to reset itself; for a microVM a reset is the end.
        case .tripleFault: guestRequestedEnd(.guestReset)
        case .systemEvent(type: 1): guestRequestedEnd(.guestShutdown)
        case .systemEvent(type: 2): guestRequestedEnd(.guestReset)
        default: guestRequestedEnd(.failure("vCPU \(id): \(reason)"))
        }
    }

    /// Step 6: no vCPU runs any more, requests in flight are done, the terminal is as it was. After the loop has ended. Any number of times.
    public func shutDown() {
        for vcpu in vcpus { vcpu.stop() }
        for vcpu in vcpus { vcpu.join() }
        for transport in transports { transport.detach() }
        for thread in ioThreads { thread.stop() }
        platform.stop()
        consoleHost?.stop()
    }
}
