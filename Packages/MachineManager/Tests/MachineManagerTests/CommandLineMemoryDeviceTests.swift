import Testing

@testable import MachineManager

@Suite struct CommandLineMemoryDeviceTests {
    private static let words = [
        "-initrd", "i", "-object", "memory-backend-ram,id=m0,size=1G", "-object", "memory-backend-file,id=f0,size=4M,mem-path=/f,readonly=on",
    ]

    private func device(_ value: String) throws -> VmConfig.Device { try #require(try parse(Self.words + ["-device", value]).devices.first) }
    private func refusal(_ values: String...) -> String { message(Self.words + values.flatMap { ["-device", $0] }) }

    @Test func memoryDevices_haveTheirDefaults() throws {
        #expect(try device("virtio-mem-device,memdev=m0") == .virtioMem(VmConfig.VirtioMem(id: "m0", memdev: "m0")))
        #expect(try device("virtio-pmem-device,memdev=f0") == .virtioPmem(VmConfig.VirtioPmem(id: "f0", memdev: "f0")))
        #expect(try parse(Self.words).memoryBackends.map(\.isReadOnly) == [false, true])
    }

    @Test func memoryDevices_takeAllParameters() throws {
        var memory = VmConfig.VirtioMem(id: "vm0", memdev: "m0")
        memory.address = 8 << 30
        memory.blockSize = 4 << 20
        memory.requestedSize = 512 << 20
        memory.unpluggedAccess = .inaccessible
        #expect(
            try device("virtio-mem-device,memdev=m0,id=vm0,memaddr=0x200000000,block-size=4M,requested-size=512M,unplugged-inaccessible=on")
                == .virtioMem(memory))
        var file = VmConfig.VirtioPmem(id: "p", memdev: "f0")
        file.address = 8 << 30
        #expect(try device("virtio-pmem-device,memdev=f0,id=p,memaddr=8589934592") == .virtioPmem(file))
        for (word, access) in [("off", VmConfig.VirtioMem.UnpluggedAccess.accessible), ("auto", .automatic)] {
            guard case .virtioMem(let device) = try device("virtio-mem-device,memdev=m0,unplugged-inaccessible=\(word)") else {
                Issue.record("not a virtio-mem")
                continue
            }
            #expect(device.unpluggedAccess == access)
        }
    }

    @Test func wrongDevices_areRefused() {
        #expect(refusal("virtio-mem-device") == "-device virtio-mem-device: memdev= is missing")
        #expect(refusal("virtio-mem-device,memdev=x") == "-device virtio-mem-device: there is no -object memory-backend-ram, -file or -memfd with id 'x'")
        #expect(refusal("virtio-mem-device,memdev=f0") == "-device virtio-mem-device: memory backend 'f0' must not be readonly=on")
        #expect(refusal("virtio-mem-device,memdev=m0", "virtio-pmem-device,memdev=m0") == "-device virtio-pmem-device: memory backend 'm0' is used twice")
        #expect(refusal("virtio-pmem-device,memdev=m0") == "-device virtio-pmem-device: memory backend 'm0' must be a memory-backend-file")
        #expect(refusal("virtio-mem-device,memdev=m0,block-size=3M") == "-device virtio-mem-device: block-size= must be a power of two")
        #expect(refusal("virtio-mem-device,memdev=m0,block-size=1M") == "-device virtio-mem-device: block-size= must be from 2M to 512G, not '1M'")
        #expect(refusal("virtio-mem-device,memdev=m0,node=3") == "-device virtio-mem-device: there is no -numa node with nodeid 3")
        #expect(refusal("virtio-mem-device,memdev=m0,bus=pcie.0") == "-device virtio-mem-device: bus= is for PCI devices, which a microvm has none of")
        for address in ["0x", "0xg", "-1", "4G", "0x10000000000000", "18446744073709551616"] {
            #expect(
                refusal("virtio-mem-device,memdev=m0,memaddr=\(address)")
                    == "-device virtio-mem-device: memaddr= must be an address such as 0x100000000, below 2^52, not '\(address)'")
        }
        let words = ["-initrd", "i", "-object"]
        #expect(
            message(words + ["memory-backend-file,id=f,size=3M,mem-path=/f", "-device", "virtio-pmem-device,memdev=f"])
                == "-device virtio-pmem-device: the size of memory backend 'f' must be a multiple of 2M")
        #expect(
            message(words + ["memory-backend-file,id=f,size=4M,mem-path=/f,readonly=on,prealloc=on"])
                == "-object memory-backend-file: readonly=on and prealloc=on exclude each other")
        #expect(message(words + ["memory-backend-ram,id=f,size=4M,readonly=on"]) == "-object memory-backend-ram: unknown parameter 'readonly'")
    }

    @Test func backendsOfDevices_areNotUnused() throws {
        let config = try parse(Self.words + ["-device", "virtio-mem-device,memdev=m0", "-device", "virtio-pmem-device,memdev=f0"])
        #expect(config.memoryBackendsInUse == ["m0", "f0"])
    }

    // MARK: QMP

    @Test func viomem_isSetAndRead() {
        let desk = Desk()
        #expect(desk.say("set-viomem", #"{"id":"mem0","requested-size":"512M"}"#) == "{}")
        #expect(desk.machine.state.withLock(\.requestedMemory) == 512 << 20)
        #expect(
            desk.say("get-viomem", #"{"id":"mem0"}"#)
                == #"{"id":"mem0","memaddr":4294967296,"requested-size":536870912,"size":67108864,"max-size":1073741824,"block-size":4194304,"node":0,"memdev":"/objects/m0"}"#)
        for (text, bytes) in [("268435456", 256 << 20), ("\"268435456\"", 256 << 20), ("\"1g\"", 1 << 30), ("\"2048K\"", 2 << 20), ("0", 0), ("\"0x100000\"", 1 << 20)] as [(String, UInt64)] {
            #expect(desk.say("set-viomem", "{\"id\":\"mem0\",\"requested-size\":\(text)}") == "{}")
            #expect(desk.machine.state.withLock(\.requestedMemory) == bytes)
        }
        for text in ["-1", "\"\"", "\"M\"", "\"1T\"", "\"-1M\"", "\"1.5G\"", "1.5", "true", "\"9999999999999G\"", "[]", "null"] {
            let said = desk.say("set-viomem", "{\"id\":\"mem0\",\"requested-size\":\(text)}")
            #expect(said == "GenericError: set-viomem: argument 'requested-size' must be a number of bytes, or a string such as \"512M\" or \"2G\"", "\(text)")
        }
        #expect(desk.say("set-viomem", #"{"id":"mem1","requested-size":0}"#) == "DeviceNotFound: there is nothing with the id 'mem1'")
        #expect(desk.say("set-viomem", #"{"id":"mem0","requested-size":"2G"}"#) == "GenericError: memory device 'mem0': too large")
        for id in ["mem1", "pmem0"] {
            #expect(desk.say("get-viomem", "{\"id\":\"\(id)\"}") == "DeviceNotFound: get-viomem: there is no virtio-mem-device with the id '\(id)'")
        }
    }

    @Test func requestedSize_isAPropertyToo() {
        let desk = Desk()
        desk.machine.state.withLock { $0.requests = [.block(VmConfig.VirtioBlock(id: "mem0", drive: "d"), slot: 0)] }
        let property = #""path":"/machine/peripheral/mem0","property":"requested-size""#
        #expect(desk.say("qom-set", "{\(property),\"value\":\"256M\"}") == "{}")
        #expect(desk.say("qom-get", "{\(property)}") == "268435456")
        #expect(desk.say("qom-set", "{\(property),\"value\":\"2G\"}") == "GenericError: memory device 'mem0': too large")
        #expect(desk.say("qom-get", #"{"path":"/machine/peripheral/mem0","property":"size"}"#) == "67108864")
        #expect(desk.say("qom-set", #"{"path":"/machine/peripheral/mem0","property":"size","value":1}"#).hasPrefix("GenericError: qom-set: property 'size'"))
    }

    @Test func memoryDevices_areListed() {
        #expect(
            Desk().say("query-memory-devices")
                == #"[{"type":"virtio-mem","data":{"id":"mem0","memaddr":4294967296,"requested-size":134217728,"size":67108864,"max-size":1073741824,"block-size":4194304,"node":0,"memdev":"/objects/m0"}},{"type":"virtio-pmem","data":{"id":"pmem0","memaddr":5368709120,"size":2097152,"memdev":"/objects/m1"}}]"#)
    }

    @Test func sizeChange_isAnEvent() {
        var text: [UInt8] = []
        QMPAnswers.event(.memoryDeviceSizeChange(id: "mem0", size: 4 << 20), realtimeNanoseconds: 0).write(to: &text)
        #expect(String(decoding: text, as: UTF8.self).contains(#""event":"MEMORY_DEVICE_SIZE_CHANGE","data":{"id":"mem0","size":4194304,"qom-path":"/machine/peripheral/mem0"}"#))
    }
}
