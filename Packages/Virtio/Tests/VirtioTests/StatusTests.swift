import Synchronization
import Testing
@testable import Virtio

/// The status state machine (virtio 1.2, sections 2.1 and 3.1.1; the class of Firecracker PR 5818).
@Suite struct StatusTests {
    private static let prefixes: Set<UInt8> = [0, 1, 3, 11, 15]

    @Test func steps_inOrder_reachDriverOK() throws {
        let guest = try Guest()
        #expect(try guest.start())
        #expect(guest.status.rawValue == 15)
        guest.write(.status, 0)
        #expect(guest.status == [])
        #expect(guest.read(.queueReady) == 0)
    }

    @Test func steps_inOneWrite_areTakenInOrder() throws {
        let guest = try Guest()
        // As SeaBIOS does.
        guest.write(.status, 3)
        #expect(guest.status.rawValue == 3)
        // VERSION_1 was not accepted, so both later steps fail.
        guest.write(.status, 15)
        #expect(guest.status.rawValue == 3)
    }

    @Test func featuresOK_withUnofferedBitsOrWithoutVersion1_isRefused() throws {
        let guest = try Guest()
        for features in [0, 1, 1 << 34, VirtioFeature.version1 | 1 << 34, VirtioFeature.version1 | 1, BlockFeature.flush, VirtioFeature.version1 | BlockFeature.readOnly] {
            guest.negotiate(features)
            #expect(guest.status.rawValue == 3, "\(features)")
        }
        guest.negotiate(VirtioFeature.version1)
        #expect(guest.status.rawValue == 11)
    }

    @Test func features_afterFeaturesOK_areFrozen() throws {
        let guest = try Guest()
        guest.negotiate(VirtioFeature.version1)
        guest.write(.driverFeaturesSelect, 0)
        guest.write(.driverFeatures, 1)
        #expect(guest.transport.state.withLock { $0.driverFeatures } == VirtioFeature.version1)
        #expect(guest.transport.statistics.ignoredAccesses > 0)
    }

    /// Every sequence of three writes out of all interesting values, checked after each against the rules.
    @Test func sequences_ofAllInterestingValues_keepTheInvariants() throws {
        let guest = try Guest()
        let values: [UInt32] = [0, 1, 2, 3, 4, 5, 7, 8, 9, 11, 12, 13, 14, 15, 16, 64, 79, 128, 131, 143, 255, 256, 271, 0x8000_0001, .max]
        for a in values {
            for b in values {
                for c in values {
                    for accepts in [false, true] {
                        guest.write(.status, 0)
                        for value in [a, b, c] {
                            if accepts, guest.status.acceptsFeatures {
                                guest.write(.driverFeaturesSelect, 1)
                                guest.write(.driverFeatures, 1)
                            }
                            let before = guest.status
                            guest.write(.status, value)
                            let after = guest.status
                            if !Self.follows(before, value, after, accepts) { Issue.record("\(before) \(value) \(after)") }
                        }
                    }
                }
            }
        }
    }

    private static func follows(_ before: DeviceStatus, _ value: UInt32, _ after: DeviceStatus, _ accepts: Bool) -> Bool {
        if value == 0 { return after == [] }
        let steps = after.subtracting([.failed, .needsReset])
        return prefixes.contains(steps.rawValue) && after.isSuperset(of: before)
            && after.isSubset(of: before.union(DeviceStatus(rawValue: UInt8(truncatingIfNeeded: value)))) && (accepts || !after.contains(.featuresOK))
    }

    @Test func failed_stopsTheDeviceUntilReset() throws {
        let guest = try Guest()
        try guest.start()
        guest.write(.status, 0x8f)
        #expect(guest.status.rawValue == 0x8f)
        #expect(try guest.request(RequestType.flush).status == 0xff)
        #expect(try guest.start())
        #expect(try guest.request(RequestType.flush).status == BlockStatus.ok)
    }

    @Test func reset_whileRequestsAreInFlight_waitsForThemAndForgetsThem() throws {
        let guest = try Guest()
        try guest.start()
        guest.fake.isHolding = true
        try guest.writeHeader(RequestType.read, sector: 0)
        try guest.writeTable(guest.chain([.writable(Guest.Place.data, 512)]))
        try guest.offer(0)
        guest.serve()
        #expect(guest.fake.inFlight == 1)
        guest.fake.reapsToHold = 3
        guest.write(.status, 0)
        #expect(guest.fake.reapsToHold == 0)
        #expect(guest.fake.inFlight == 0)
        #expect(try guest.newUsed() == [])
        #expect(guest.read(.interruptStatus) == 0)
        #expect(try guest.start())
        #expect(try guest.request(RequestType.read, [.writable(Guest.Place.data, 512)]).status == BlockStatus.ok)
    }

    @Test func queueReady_zeroWhileRunning_stopsTheQueueForGood() throws {
        let guest = try Guest()
        try guest.start()
        guest.fake.isHolding = true
        try guest.writeHeader(RequestType.flush, sector: 0)
        try guest.writeTable(guest.chain([]))
        try guest.offer(0)
        guest.serve()
        guest.fake.reapsToHold = 3
        guest.write(.queueReady, 0)
        #expect(guest.fake.reapsToHold == 0)
        #expect(guest.read(.queueReady) == 0)
        #expect(guest.fake.inFlight == 0)
        #expect(try guest.newUsed().count == 1)
        let before = try guest.bytes(Guest.Place.used, 64)
        try guest.offer(0)
        guest.serve()
        #expect(try guest.bytes(Guest.Place.used, 64) == before)
        guest.write(.queueReady, 1)
        #expect(guest.read(.queueReady) == 0)
    }
}
