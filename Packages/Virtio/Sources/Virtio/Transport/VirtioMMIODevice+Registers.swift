internal import LinuxSys
internal import Synchronization

extension VirtioMMIODevice {
    public func read(offset: UInt64, size: Int) -> UInt64 {
        if offset >= MMIORegister.config { return readConfig(offset, size) }
        // The driver may only use aligned accesses of 32 bits here (section 4.2.2.2).
        guard size == 4, let register = MMIORegister(rawValue: offset) else {
            ignore()
            return 0
        }
        switch register {
        case .magic: return UInt64(MMIORegister.magicValue)
        case .version: return UInt64(MMIORegister.versionValue)
        case .deviceID: return UInt64(deviceType)
        case .vendorID: return 0
        case .interruptStatus: return UInt64(interrupt.status)
        // No shared memory region exists: length and base are all ones whatever is selected.
        case .sharedMemoryLengthLow, .sharedMemoryLengthHigh, .sharedMemoryBaseLow, .sharedMemoryBaseHigh: return 0xffff_ffff
        default: break
        }
        return state.withLock { state in
            switch register {
            case .deviceFeatures: return Self.word(state.offeredFeatures, state.deviceFeaturesSelect)
            case .queueSizeMaximum: return selected(state.queueSelect).map { UInt64(queueSizes[$0]) } ?? 0
            case .queueReady: return selected(state.queueSelect).map { state.queues[$0].isReady ? 1 : 0 } ?? 0
            case .status: return UInt64(state.status.rawValue)
            case .configGeneration: return UInt64(state.configGeneration)
            default:
                // Write-only.
                ignore()
                return 0
            }
        }
    }

    public func write(offset: UInt64, size: Int, value: UInt64) {
        if offset >= MMIORegister.config { return writeConfig(offset, size, value) }
        guard size == 4, let register = MMIORegister(rawValue: offset) else { return ignore() }
        let value = UInt32(truncatingIfNeeded: value)
        switch register {
        case .queueNotify:
            // Here only when the hypervisor has no ioeventfd. The index is the guest's (the CVE-2011-2512 class).
            guard let index = selected(value) else { return ignore() }
            return notifications[index].signal()
        case .interruptAcknowledge: return interrupt.acknowledge(value)
        case .status where value == 0: return resetAndWait()
        case .sharedMemorySelect: return
        default: break
        }
        let stopping: Range<Int> = state.withLock { state in
            // Another vCPU's reset is not complete yet; what this one writes would be lost with it.
            if state.settling > 0 {
                ignore()
                return 0..<0
            }
            switch register {
            case .deviceFeaturesSelect: state.deviceFeaturesSelect = value
            case .driverFeaturesSelect: state.driverFeaturesSelect = value
            case .driverFeatures: writeDriverFeatures(&state, value)
            case .queueSelect: state.queueSelect = value
            case .queueReady: return writeQueueReady(&state, value)
            case .status: return writeStatus(&state, value)
            case .queueSize: configure(&state) { $0.size = value }
            case .queueDescriptorLow: configure(&state) { Self.setLow(&$0.descriptorTable, value) }
            case .queueDescriptorHigh: configure(&state) { Self.setHigh(&$0.descriptorTable, value) }
            case .queueDriverLow: configure(&state) { Self.setLow(&$0.availableRing, value) }
            case .queueDriverHigh: configure(&state) { Self.setHigh(&$0.availableRing, value) }
            case .queueDeviceLow: configure(&state) { Self.setLow(&$0.usedRing, value) }
            case .queueDeviceHigh: configure(&state) { Self.setHigh(&$0.usedRing, value) }
            default: ignore()
            }
            return 0..<0
        }
        if !stopping.isEmpty { stopAndWait(stopping) }
    }

    // MARK: Parts

    /// An index of a queue that exists (the class of Cloud Hypervisor issue 7917: a selector used unchecked).
    private func selected(_ index: UInt32) -> Int? {
        let index = Int(index)
        return index < queueSizes.count ? index : nil
    }

    private static func word(_ features: UInt64, _ select: UInt32) -> UInt64 {
        switch select {
        case 0: features & 0xffff_ffff
        case 1: features >> 32
        default: 0
        }
    }

    // The halves of an address are replaced, not merged: a driver that sets a queue up again must not get a mixture.
    private static func setLow(_ address: inout UInt64, _ value: UInt32) { address = address & 0xffff_ffff_0000_0000 | UInt64(value) }
    private static func setHigh(_ address: inout UInt64, _ value: UInt32) { address = address & 0xffff_ffff | UInt64(value) << 32 }

    private func writeDriverFeatures(_ state: inout State, _ value: UInt32) {
        guard state.status.acceptsFeatures else { return ignore() }
        switch state.driverFeaturesSelect {
        case 0: Self.setLow(&state.driverFeatures, value)
        case 1: Self.setHigh(&state.driverFeatures, value)
        // Bits 64 and up do not exist. Accepting one is accepting what was not offered, which 0 is not.
        default: if value != 0 { ignore() }
        }
    }

    private func configure(_ state: inout State, _ change: (inout QueueConfiguration) -> Void) {
        guard let index = selected(state.queueSelect), state.status.acceptsQueues, !state.queues[index].isReady else { return ignore() }
        change(&state.queues[index].configuration)
    }

    /// The queue that has to be stopped, if one has.
    private func writeQueueReady(_ state: inout State, _ value: UInt32) -> Range<Int> {
        guard let index = selected(state.queueSelect), value <= 1 else {
            ignore()
            return 0..<0
        }
        let wanted = value == 1
        if state.status.acceptsQueues {
            state.queues[index].isReady = wanted
        } else if !wanted, state.queues[index].isReady {
            // The driver stops the queue and reads the register back: nothing touches the ring afterwards. Only a reset brings it back.
            return index..<index + 1
        } else if wanted != state.queues[index].isReady {
            ignore()
        }
        return 0..<0
    }

    private func readConfig(_ offset: UInt64, _ size: Int) -> UInt64 {
        guard let place = configOffset(offset, size) else { return 0 }
        return state.withLock { $0.device.readConfig(offset: place, size: size) }
    }

    private func writeConfig(_ offset: UInt64, _ size: Int, _ value: UInt64) {
        guard let place = configOffset(offset, size) else { return }
        state.withLock { $0.device.writeConfig(offset: place, size: size, value: value) }
    }

    private func configOffset(_ offset: UInt64, _ size: Int) -> Int? {
        guard offset < MMIORegister.windowSize, (1...8).contains(size) else {
            ignore()
            return nil
        }
        return Int(offset &- MMIORegister.config)
    }
}
