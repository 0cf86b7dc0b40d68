-- Every lead is thanked.
SELECT byoc.create_sms_trigger(
    target    => 'leads',
    name      => 'thank_you',
    to_number => '{{phone}}',
    body      => 'Hi {{name|default:"there"}}, thank you for asking about {{service|default:"our services"}}. We will call you shortly.');

-- A hot one also alerts whoever is on duty at that organization.
SELECT byoc.create_sms_trigger(
    target    => 'leads',
    name      => 'hot_lead',
    condition => 'NEW.score >= 80',
    to_number => '{{org.alert_phone}}',
    body      => '🔥 HOT LEAD
Name: {{name}}
Phone: {{phone}}
Service: {{service}}
Summary: {{summary|truncate:80}}');
