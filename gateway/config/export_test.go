package config

// Decode reads a configuration without looking at what it refers to.
func Decode(file string, data []byte) (*Config, error) {
	c, doc := decode(file, data)
	return c, doc.Err()
}
