import AddressSpace
@testable import Hypervisor
import LinuxSys
import Testing

@Suite struct KVMMemoryListenerTests {
    @Test func regions_addedAndRemoved_comeAndGoInKVM() throws {
        let machine = try KVM.open().createVirtualMachine()
        let space = AddressSpace(name: "memory", size: 1 << 40)
        try space.addListener(machine.memoryListener())
        let memory = try HostMemory.anonymous(size: 0x4000)
        let ram = try Region.ram(name: "ram", size: 0x4000, memory: memory)
        for round in 0..<100 {
            try space.root.add(ram, at: UInt64(round) << 20)
            try space.root.remove(ram)
        }
    }

    /// KVM itself refuses two slots at one address: a stale slot would show here.
    @Test func hole_cutByADevice_splitsTheSlotAndHealsAgain() throws {
        let machine = try KVM.open().createVirtualMachine()
        let listener = machine.memoryListener()
        let space = AddressSpace(name: "memory", size: 1 << 40)
        try space.addListener(listener)
        let memory = try HostMemory.anonymous(size: 0x10000)
        try space.root.add(try Region.ram(name: "ram", size: 0x10000, memory: memory), at: 0)
        let over = try HostMemory.anonymous(size: 0x1000)
        let window = try Region.ram(name: "window", size: 0x1000, memory: over)
        for _ in 0..<10 {
            try space.root.add(window, at: 0x4000, priority: 1)
            #expect(space.flatRanges().count == 3)
            try space.root.remove(window)
            #expect(space.flatRanges().count == 1)
        }
        try space.removeListener(listener)
        // Everything was given back: another listener of the same machine may use slot 0 and the same addresses.
        try space.addListener(machine.memoryListener())
    }

    @Test func regions_thatCannotBeMapped_areRefusedAndLeaveTheRestAsItWas() throws {
        let machine = try KVM.open().createVirtualMachine()
        let space = AddressSpace(name: "memory", size: 1 << 40)
        try space.addListener(machine.memoryListener())
        let memory = try HostMemory.anonymous(size: 0x4000)
        try space.root.add(try Region.ram(name: "ram", size: 0x2000, memory: memory), at: 0)
        let odd = try Region.ram(name: "odd", size: 0x1000, memory: memory, memoryOffset: 0x10)
        let error = #expect(throws: AddressSpaceError.self) { try space.root.add(odd, at: 0x10000) }
        #expect(error?.description == "cannot map guest memory at 0x10000, which is not page aligned: Invalid argument")
        #expect(space.flatRanges().count == 1)
        try space.root.add(try Region.ram(name: "more", size: 0x1000, memory: memory, memoryOffset: 0x2000), at: 0x10000)
        #expect(space.flatRanges().count == 2)
    }

    @Test func ioEventFDs_twiceTheSame_areRefusedAndTakenBack() throws {
        let machine = try KVM.open().createVirtualMachine()
        let events = KVMIOEventFDs(machine: machine, portSpace: false)
        let event = IOEventFD(address: 0x1000, size: 4, datamatch: 1, event: try EventFD())
        let other = IOEventFD(address: 0x2000, size: 0, datamatch: nil, event: try EventFD())
        try events.change(removed: [], added: [event])
        let error = #expect(throws: AddressSpaceError.self) { try events.change(removed: [], added: [other, event]) }
        #expect(error?.description == "cannot add the ioeventfd at address 0x1000: File exists")
        // `other` was taken back.
        try events.change(removed: [event], added: [other])
        try events.change(removed: [other], added: [])
    }
}
