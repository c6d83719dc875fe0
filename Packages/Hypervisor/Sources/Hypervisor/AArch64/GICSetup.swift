/// What KVM is told to make an interrupt controller, as data; compiled on every host.
enum GICSetup {
    /// vCPUs of a GICv2 (its registers have a bit for each).
    static let vcpusOfV2 = 8

    /// A layout that KVM would take and that is wrong all the same is refused here: with too few redistributors a vCPU would have none.
    static func check(_ layout: GICLayout, vcpus: Int) throws(HypervisorError) {
        guard layout.lines % 32 == 0, (64...992).contains(layout.lines) else { throw .unsupported("this number of interrupts") }
        var room = 0
        for region in layout.redistributors {
            guard (1...0xFFF).contains(region.count), region.base & 0xFFFF == 0, region.base < 1 << 52 else {
                throw .unsupported("redistributors in this place")
            }
            // No overflow: 4095 for each element of an array.
            room &+= region.count
        }
        guard vcpus <= room else { throw .tooManyVCPUs(limit: room) }
    }

    /// Version 3, in order, up to its start. `hasRegions`: the kernel knows regions of redistributors (Linux 4.18); one that does not has a single row of
    /// them, as long as there are vCPUs.
    static func v3(_ layout: GICLayout, hasRegions: Bool) throws(HypervisorError) -> [KVMDeviceAttribute] {
        var attributes: [KVMDeviceAttribute] = [.distributorV3(layout.distributor)]
        if hasRegions {
            for (index, region) in layout.redistributors.enumerated() {
                attributes.append(.redistributorRegion(index: index, base: region.base, count: region.count))
            }
        } else {
            guard let region = layout.redistributors.first else { throw .tooManyVCPUs(limit: 0) }
            guard layout.redistributors.count == 1 else { throw .tooManyVCPUs(limit: region.count) }
            attributes.append(.redistributors(from: region.base))
        }
        return attributes + [.interruptNumbers(layout.lines), .initialize]
    }

    static func v2(_ layout: GICLayout, vcpus: Int) throws(HypervisorError) -> [KVMDeviceAttribute] {
        guard vcpus <= vcpusOfV2 else { throw .tooManyVCPUs(limit: vcpusOfV2) }
        return [.distributorV2(layout.distributor), .cpuInterfaceV2(layout.cpuInterface), .interruptNumbers(layout.lines), .initialize]
    }

    /// The interrupt translation service, after version 3 was started.
    static func its(at base: UInt64) -> [KVMDeviceAttribute] { [.its(base), .initialize] }
}
